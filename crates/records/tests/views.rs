//! The layouts in C and Python are those in Rust: compilers of these languages say so.
//!
//! `UPDATE_DOCS=1` writes the committed header and module.

use std::path::Path;
use std::process::Command;

use records::{LAYOUTS, c_header, python_module};

fn committed(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, text, "{} is old: UPDATE_DOCS=1 cargo test -p records", path.display());
}

#[test]
fn c_header_is_committed_and_has_the_same_layout() {
    committed("include/csdrive_records.h", &c_header());
    let folder = tempfile::tempdir().unwrap();
    let mut source = "#include <stddef.h>\n#include \"csdrive_records.h\"\n".to_owned();
    for layout in LAYOUTS {
        let mut name = String::new();
        for (n, letter) in layout.name.chars().enumerate() {
            if letter.is_uppercase() && n > 0 {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        }
        let structure = format!("struct csdrive_{name}");
        source += &format!("_Static_assert(sizeof({structure}) == {}, \"size\");\n", layout.bytes);
        for field in layout.fields {
            let (of, at) = (field.name, field.offset);
            source += &format!("_Static_assert(offsetof({structure}, {of}) == {at}, \"{of}\");\n");
        }
    }
    let file = folder.path().join("layout.c");
    std::fs::write(&file, source).unwrap();
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/include");
    let compiler = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", include])
        .arg(&file)
        .status();
    match compiler {
        Ok(status) => assert!(status.success(), "cc finds another layout"),
        Err(error) => println!("SKIPPED: cc: {error} (apt-get install gcc)"),
    }
}

#[test]
fn python_module_is_committed_and_has_the_same_layout() {
    committed("../../python/src/csdrive/records.py", &python_module());
    let mut script = "import ctypes, records as r\n".to_owned();
    for layout in LAYOUTS {
        let name = layout.name;
        script +=
            &format!("assert ctypes.sizeof(r.{name}) == {} == r.{name}.BYTES\n", layout.bytes);
        for field in layout.fields {
            script += &format!("assert r.{name}.{}.offset == {}\n", field.name, field.offset);
        }
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../python/src/csdrive");
    let python =
        Command::new("python3").args(["-B", "-c", &script]).env("PYTHONPATH", folder).status();
    match python {
        Ok(status) => assert!(status.success(), "Python finds another layout"),
        Err(error) => println!("SKIPPED: python3: {error} (apt-get install python3)"),
    }
}

#[test]
fn records_have_no_gaps_and_stay_aligned() {
    for layout in LAYOUTS {
        let mut at = 0;
        for field in layout.fields {
            assert_eq!(field.offset, at, "{}.{}", layout.name, field.name);
            at += field.element_bytes * field.count.unwrap_or(1);
        }
        assert_eq!(at, layout.bytes, "{}", layout.name);
        assert_eq!(layout.bytes % 8, 0, "{}: records follow each other aligned", layout.name);
    }
}
