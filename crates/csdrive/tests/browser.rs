//! Pages in a real browser, without a network. Where no Chromium is installed these tests are reported as ignored.

#[path = "harness/lib.rs"]
mod harness;

use std::process::{Command, ExitCode};

use harness::{Files, csdrive, root};
use libtest_mimic::{Arguments, Failed, Trial};

/// A Chromium of this machine.
fn browser() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    names.into_iter().find(|name| {
        let version = Command::new(name).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    })
}

/// Opens a page; what the browser prints.
fn open(files: &Files, page: &str, arguments: &[&str]) -> String {
    let output = Command::new(browser().expect("it was found"))
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars"])
        .arg(format!("--user-data-dir={}", files.path("browser")))
        .args(arguments)
        .arg(format!("file://{}", files.path(page)))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Width, height and bytes of a PNG file.
fn size(png: &[u8]) -> (u32, u32, usize) {
    assert!(png.starts_with(b"\x89PNG"));
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20), png.len())
}

fn a_report_is_drawn() -> Result<(), Failed> {
    let files = Files::new();
    let workload = root().join("experiments/neighbour.toml").display().to_string();
    let (fast, slow) = (files.path("fast"), files.path("slow"));
    for (folder, time) in [(&fast, "flash.read_time=40us"), (&slow, "flash.read_time=80us")] {
        let ran = csdrive(&["workload", &workload, "--set", time, "--record", folder]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let made =
        csdrive(&["report", &fast, &slow, "-o", &files.path("page.html"), "--title", "A & <B>"]);
    assert_eq!(made.code, 0, "{made:?}");
    let dom = open(&files, "page.html", &["--dump-dom"]);
    assert!(dom.contains("<h1>A &amp; &lt;B&gt;</h1>"), "{}", &dom[..500]);
    // What the parser made of it: charts with lines, bars, tables; nothing that was not closed.
    assert!(dom.matches("<svg").count() >= 8 && dom.matches("<polyline").count() >= 20);
    assert!(dom.contains("class=\"bar\"") && dom.contains("slower: reading flash +"));
    assert!(dom.trim_end().ends_with("</body></html>"), "{}", &dom[dom.len() - 100..]);
    let picture = files.path("page.png");
    open(&files, "page.html", &["--window-size=1240,3600", &format!("--screenshot={picture}")]);
    let (width, height, bytes) = size(&files.get("page.png"));
    assert_eq!((width, height), (1240, 3600));
    // An empty page has some ten kilobytes.
    assert!(bytes > 150_000, "{bytes}");
    Ok(())
}

fn main() -> ExitCode {
    let found = browser().is_some();
    let name = match found {
        true => "a_report_is_drawn".to_owned(),
        false => "a_report_is_drawn: SKIPPED: no chromium: apt-get install chromium".to_owned(),
    };
    let trial = Trial::test(name, a_report_is_drawn).with_ignored_flag(!found);
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}
