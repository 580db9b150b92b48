//! Line charts as SVG, with text that stays text.

use plotters::prelude::*;

/// A line with its name.
#[derive(Clone, PartialEq, Debug)]
pub struct Line {
    /// Shown above the chart; one without a name is not listed.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// A chart of some lines over one axis.
#[derive(Clone, PartialEq, Debug)]
pub struct Chart<'a> {
    /// Shown on top.
    pub title: &'a str,
    /// What the axis below shows.
    pub x: &'a str,
    /// What the axis at the left shows.
    pub y: &'a str,
    /// The lines.
    pub lines: Vec<Line>,
    /// Texts in place of numbers on the axis below, for its values 0, 1, 2, ...
    pub ticks: Vec<String>,
    /// The axis of values is logarithmic.
    pub is_log: bool,
}

/// Pixels of one chart, and of the height that lines have of it.
const SIZE: (u32, u32) = (560, 380);
const PLOT_HEIGHT: f64 = 290.0;

/// Colours that are told apart also by those who see no red or no green (Okabe and Ito, "Color Universal Design").
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// The colour of the line of a number, as `#rrggbb`.
pub(crate) fn colour(number: usize) -> String {
    let RGBColor(red, green, blue) = COLOURS[number % COLOURS.len()];
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Charts side by side, as an SVG document.
///
/// # Errors
/// If one has numbers that cannot be drawn.
pub fn svg(charts: &[Chart<'_>]) -> Result<String, String> {
    let mut text = String::new();
    let size = (SIZE.0 * charts.len().max(1) as u32, SIZE.1);
    let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
    let wrong = |error: &dyn std::fmt::Display| format!("the picture: {error}");
    area.fill(&WHITE).map_err(|error| wrong(&error))?;
    for (chart, place) in charts.iter().zip(area.split_evenly((1, charts.len().max(1)))) {
        chart.draw(&place).map_err(|error| wrong(&error))?;
    }
    area.present().map_err(|error| wrong(&error))?;
    drop(area);
    Ok(text)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

impl Chart<'_> {
    fn draw(&self, area: &Area<'_>) -> Drawn {
        let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        let bounds = |of: fn((f64, f64)) -> f64| {
            points()
                .map(of)
                .fold((f64::MAX, f64::MIN), |(a, b), value| (a.min(value), b.max(value)))
        };
        let ((left, right), (low, high)) = (bounds(|p| p.0), bounds(|p| p.1));
        if left > right {
            return area.draw(&Text::new(
                format!("{}: nothing to draw", self.title),
                (20, 20),
                ("sans-serif", 15),
            ));
        }
        let right = if right > left { right } else { left + 1.0 };
        let mut builder = ChartBuilder::on(area);
        builder
            .caption(self.title, ("sans-serif", 17))
            .margin(10)
            .margin_right(34)
            .x_label_area_size(40)
            .y_label_area_size(72);
        // Room for the names above the lines.
        let names = self.lines.iter().filter(|line| !line.name.is_empty()).count();
        let share = ((14 * names + 14) as f64 / PLOT_HEIGHT).min(0.6);
        let room = share / (1.0 - share);
        if self.is_log {
            let low = points().map(|p| p.1).filter(|y| *y > 0.0).fold(high, f64::min).max(1e-9);
            let high = high * (high / low).powf(room) * 1.3;
            self.fill(builder.build_cartesian_2d(left..right, (low / 1.3..high).log_scale())?)
        } else {
            let low = low.min(0.0);
            let high = if high > low { high + (high - low) * room } else { low + 1.0 };
            self.fill(builder.build_cartesian_2d(left..right, low..high)?)
        }
    }

    fn fill<'a, 'b: 'a, Y>(
        &self,
        mut chart: ChartContext<
            'a,
            SVGBackend<'b>,
            Cartesian2d<plotters::coord::types::RangedCoordf64, Y>,
        >,
    ) -> Drawn
    where
        Y: Ranged<ValueType = f64> + plotters::coord::ranged1d::ValueFormatter<f64>,
    {
        let tick = |x: &f64| match self.ticks.is_empty() {
            true => number(*x),
            false if x.fract().abs() < 1e-9 => {
                self.ticks.get(*x as usize).cloned().unwrap_or_default()
            }
            false => String::new(),
        };
        let labels = if self.ticks.is_empty() { 8 } else { self.ticks.len().max(2) };
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .x_labels(labels)
            .y_labels(8)
            .x_label_formatter(&tick)
            .y_label_formatter(&|y| number(*y))
            .light_line_style(WHITE)
            .label_style(("sans-serif", 12))
            .draw()?;
        for (n, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[n % COLOURS.len()];
            let style = colour.stroke_width(2);
            let drawn = chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
            if !line.name.is_empty() {
                drawn
                    .label(&line.name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
            }
            if line.points.len() <= 40 {
                let dot = |point: &(f64, f64)| Circle::new(*point, 3, colour.filled());
                chart.draw_series(line.points.iter().map(dot))?;
            }
        }
        if self.lines.iter().all(|line| line.name.is_empty()) {
            return Ok(());
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(RGBColor(180, 180, 180))
            .label_font(("sans-serif", 12))
            .position(SeriesLabelPosition::UpperRight)
            .draw()
    }
}

/// A number as an axis shows it.
fn number(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{scaled:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_an_axis() {
        let texts =
            [(0.0, "0"), (1500.0, "1500"), (25_000.0, "25k"), (1.5e6, "1.5M"), (0.25, "0.25")];
        texts.iter().for_each(|(value, text)| assert_eq!(number(*value), *text));
    }

    #[test]
    fn a_chart_has_its_lines_and_names() {
        let chart = |is_log, points: Vec<(f64, f64)>| Chart {
            title: "latency",
            x: "units",
            y: "us",
            lines: vec![Line { name: "reader".to_owned(), points }],
            ticks: vec!["one".to_owned(), "two".to_owned()],
            is_log,
        };
        let points = vec![(0.0, 1.0), (1.0, 100.0)];
        let text = svg(&[chart(false, points.clone()), chart(true, points)]).unwrap();
        assert!(text.contains("reader") && text.contains("two") && text.contains("<polyline"));
        // One point, and none.
        let text = svg(&[chart(false, vec![(1.0, 0.0)]), chart(true, Vec::new())]).unwrap();
        assert!(text.contains("nothing to draw"));
    }
}
