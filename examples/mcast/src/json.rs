//! What all JSON objects have in common. The README lists their keys.
//!
//! A point in time is in nanoseconds since 1970 (`time_ns`), each length of time in microseconds (`_us`); a key ends with what its number
//! counts (`_packets`, `_bytes`, `_percent`, ..). The same key means the same in all commands.

use std::time::Duration;

/// The version of all objects. It is raised when a key gets another name or meaning, and not when one is added.
pub(crate) const VERSION: u8 = 2;

/// A measured time in microseconds, with three digits after the point.
pub(crate) fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1_000.0
}

/// A time in whole microseconds.
pub(crate) fn whole_microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// The fields of all structures in these files that are printed as JSON: `(file, field, type)`.
    fn fields(folder: &Path, found: &mut Vec<(String, String, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                fields(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                let mut lines = source.lines().map(str::trim);
                while lines.any(|line| line.starts_with("#[") && line.contains("Serialize)]")) {
                    let mut is_flat = false;
                    for line in lines.by_ref().skip(1).take_while(|line| *line != "}") {
                        if line.starts_with("#[") {
                            is_flat = line.contains("flatten");
                        } else if let Some((name, what)) = line.split_once(": ").filter(|_| !line.starts_with("//")) {
                            let name = name.rsplit(' ').next().unwrap();
                            if !std::mem::take(&mut is_flat) {
                                found.push((path.display().to_string(), name.to_owned(), what.to_owned()));
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn each_key_is_in_the_readme_and_each_time_has_its_unit() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
        let mut keys = Vec::new();
        fields(&folder.join("src"), &mut keys);
        assert!(keys.len() > 150, "{}", keys.len());
        for (file, key, what) in &keys {
            assert!(readme.contains(&format!("`{key}`")), "{key} of {file} is not in the README");
            let is_time = ["_s", "_ms", "_us", "_ns"].iter().any(|unit| key.ends_with(unit));
            assert!(!is_time || key.ends_with("_us") || key == "time_ns", "{key} of {file}");
            // A count says of what: a number alone is a list's length in one place, and the list in another.
            let is_list = keys.iter().any(|(_, other, what)| other == key && what.starts_with("Vec<"));
            assert!(!is_list || what.starts_with("Vec<") || what.starts_with('&'), "{key} of {file} is a list elsewhere");
        }
    }
}
