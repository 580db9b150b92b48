//! `groups`: the drive's job groups as text, and requests to change them.

use client::{Drive, DriveResult, GroupInfo, GroupOptions, Submit};

/// What `groups` shows: a line for each.
pub(crate) fn list<T: Submit>(drive: &mut Drive<T>) -> DriveResult<String> {
    let line = |group: &GroupInfo| {
        let GroupOptions { weight, priority, deadline_us, bandwidth_kbps, units_max, unit_mask } =
            group.options;
        let GroupInfo { id, jobs, finished, ran_ns, missed, met, throttled_ns, .. } = group;
        format!(
            "{id} weight={weight} priority={priority} deadline_us={deadline_us} bandwidth_kbps={bandwidth_kbps} \
             units_max={units_max} unit_mask={unit_mask:#x} jobs={jobs} finished={finished} met={met} missed={missed} \
             ran_ns={ran_ns} throttled_ns={throttled_ns}\n"
        )
    };
    Ok(drive.groups()?.iter().map(line).collect())
}

/// What is to be done with groups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Request<'a> {
    Create(Vec<(&'a str, u64)>),
    Change(u8, Vec<(&'a str, u64)>),
    Delete(u8),
}

const USAGE: &str = "write: create [KEY=N]..., change ID KEY=N..., or delete ID; keys are weight, priority, deadline_us, \
                     bandwidth_kbps, units_max and unit_mask";

impl<'a> Request<'a> {
    /// Reads a request.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn parse(text: &'a str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let verb = words.next().ok_or(USAGE)?;
        let mut id = || -> Result<u8, String> {
            let word = words.next().ok_or(USAGE)?;
            word.parse().map_err(|_| format!("{word}: groups are 0 to 255"))
        };
        match verb {
            "create" => Ok(Self::Create(settings(words)?)),
            "change" => {
                let id = id()?;
                Ok(Self::Change(id, settings(words)?))
            }
            "delete" => Ok(Self::Delete(id()?)),
            _ => Err(USAGE.to_owned()),
        }
    }

    /// Does it; gives the group that was made.
    pub(crate) fn perform<T: Submit>(&self, drive: &mut Drive<T>) -> DriveResult<Option<u8>> {
        match self {
            Self::Create(settings) => {
                let mut options = GroupOptions::default();
                apply(&mut options, settings);
                drive.create_group(&options).map(Some)
            }
            Self::Change(id, settings) => {
                let now = drive.groups()?.into_iter().find(|group| group.id == *id);
                // The drive refuses a group that there is not.
                let mut options = now.map(|group| group.options).unwrap_or_default();
                apply(&mut options, settings);
                drive.change_group(*id, &options).map(|()| None)
            }
            Self::Delete(id) => drive.delete_group(*id).map(|()| None),
        }
    }
}

fn settings<'a>(words: impl Iterator<Item = &'a str>) -> Result<Vec<(&'a str, u64)>, String> {
    words
        .map(|word| {
            let (key, text) = word.split_once('=').ok_or_else(|| format!("{word}: {USAGE}"))?;
            let value = match text.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16),
                None => text.parse(),
            };
            let most = match key {
                "weight" | "units_max" => u64::from(u16::MAX),
                "priority" => u64::from(u8::MAX),
                "deadline_us" | "bandwidth_kbps" => u64::from(u32::MAX),
                "unit_mask" => u64::MAX,
                _ => return Err(format!("{key}: {USAGE}")),
            };
            let value = value.ok().filter(|value| *value <= most);
            Ok((key, value.ok_or_else(|| format!("{word}: not a number from 0 to {most}"))?))
        })
        .collect()
}

/// Numbers that `settings` let through fit.
fn apply(options: &mut GroupOptions, settings: &[(&str, u64)]) {
    for &(key, value) in settings {
        match key {
            "weight" => options.weight = value as u16,
            "priority" => options.priority = value as u8,
            "deadline_us" => options.deadline_us = value as u32,
            "bandwidth_kbps" => options.bandwidth_kbps = value as u32,
            "units_max" => options.units_max = value as u16,
            _ => options.unit_mask = value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_words() {
        let parsed = Request::parse("create weight=300 unit_mask=0x3\n").unwrap();
        assert_eq!(parsed, Request::Create(vec![("weight", 300), ("unit_mask", 3)]));
        let parsed = Request::parse("change 7 bandwidth_kbps=100000").unwrap();
        assert_eq!(parsed, Request::Change(7, vec![("bandwidth_kbps", 100_000)]));
        assert_eq!(Request::parse("delete 7"), Ok(Request::Delete(7)));
        for wrong in [
            "",
            "make",
            "delete",
            "delete x",
            "delete 256",
            "create weight",
            "create weight=-1",
            "create colour=3",
            "change 1 weight=70000",
        ] {
            assert!(Request::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
