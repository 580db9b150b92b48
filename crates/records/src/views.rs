//! The layouts in other languages.

use std::fmt::Write;

use crate::{DieOperation, LAYOUTS, Layout, LinkPath, Stage, VERSION};

const NOTE: &str = "Made by the crate `records` of csdrive; do not edit. UPDATE_DOCS=1 cargo test -p records makes it anew.";

/// `CommandRecord` as `COMMAND_RECORD`, or as `command_record` with `upper` false.
fn snake(name: &str, upper: bool) -> String {
    let mut text = String::new();
    for (n, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && n > 0 {
            text.push('_');
        }
        text.push(if upper { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() });
    }
    text
}

/// Rust links of a documentation comment, without their brackets and paths.
fn plain(doc: &str) -> String {
    doc.replace("[`", "").replace("`]", "").replace('`', "")
}

/// The C header `csdrive_records.h`.
pub fn c_header() -> String {
    let mut text = format!(
        "/* Records of a csdrive drive, little-endian, without padding.\n * {NOTE} */\n\
         #ifndef CSDRIVE_RECORDS_H\n#define CSDRIVE_RECORDS_H\n\n#include <stdint.h>\n\n\
         #define CSDRIVE_RECORDS_VERSION {VERSION}\n\n/* Stages of a command: indices of stages_ns. */\n"
    );
    for stage in Stage::ALL {
        let name = stage.name().to_ascii_uppercase();
        writeln!(text, "#define CSDRIVE_STAGE_{name} {}", stage as usize).expect("a string");
    }
    text.push_str("\n/* Operations of a die. */\n");
    for operation in DieOperation::ALL {
        let name = operation.name().to_ascii_uppercase();
        writeln!(text, "#define CSDRIVE_DIE_{name} {}", operation as usize).expect("a string");
    }
    text.push_str("\n/* Paths of a link record. */\n");
    for path in LinkPath::ALL {
        let name = path.name().to_ascii_uppercase();
        writeln!(text, "#define CSDRIVE_LINK_{name} {}", path as usize).expect("a string");
    }
    text.push_str(
        "\n/* Instead of a command's identifier. */\n#define CSDRIVE_NO_COMMAND UINT64_MAX\n",
    );
    for layout in LAYOUTS {
        c_structure(&mut text, layout);
    }
    text.push_str("\n#endif\n");
    text
}

fn c_structure(text: &mut String, layout: &Layout) {
    let Layout { kind, name, doc, bytes, fields } = layout;
    let (upper, lower) = (snake(name, true), snake(name, false));
    write!(
        text,
        "\n#define CSDRIVE_{upper}_KIND {kind}\n#define CSDRIVE_{upper}_BYTES {bytes}\n\n\
         /* {} */\nstruct csdrive_{lower} {{\n",
        plain(doc)
    )
    .expect("a string");
    for field in *fields {
        let bits = field.element_bytes * 8;
        let array = field.count.map_or(String::new(), |count| format!("[{count}]"));
        writeln!(text, "    /* {} */\n    uint{bits}_t {}{array};", plain(field.doc), field.name)
            .expect("a string");
    }
    text.push_str("};\n");
}

/// The Python module `csdrive_records`: `ctypes` structures, which `numpy.dtype` takes as they are.
pub fn python_module() -> String {
    let mut text = format!(
        "\"\"\"Records of a csdrive drive, little-endian, without padding.\n\n{NOTE}\n\n\
         numpy.frombuffer(data, numpy.dtype(CommandRecord)) reads many at once.\n\"\"\"\n\n\
         import ctypes\n\nVERSION = {VERSION}\n\n# Stages of a command: indices of stages_ns.\nSTAGES = ["
    );
    let quoted = |names: &[&str]| {
        names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
    };
    text.push_str(&quoted(&Stage::ALL.map(Stage::name)));
    text.push_str("]\n\n# Operations of a die: values of operation.\nDIE_OPERATIONS = [");
    text.push_str(&quoted(&DieOperation::ALL.map(DieOperation::name)));
    text.push_str("]\n\n# Paths of a link record: values of path.\nLINK_PATHS = [");
    text.push_str(&quoted(&LinkPath::ALL.map(LinkPath::name)));
    text.push_str("]\n\n# Instead of a command's identifier.\nNO_COMMAND = 2**64 - 1\n");
    for layout in LAYOUTS {
        let Layout { kind, name, doc, bytes, fields } = layout;
        write!(
            text,
            "\n\nclass {name}(ctypes.LittleEndianStructure):\n    \"\"\"{}\"\"\"\n\n    \
             KIND = {kind}\n    BYTES = {bytes}\n    _pack_ = 1\n    _fields_ = [\n",
            plain(doc)
        )
        .expect("a string");
        for field in *fields {
            let bits = field.element_bytes * 8;
            let array = field.count.map_or(String::new(), |count| format!(" * {count}"));
            writeln!(
                text,
                "        # {}\n        (\"{}\", ctypes.c_uint{bits}{array}),",
                plain(field.doc),
                field.name
            )
            .expect("a string");
        }
        text.push_str("    ]\n");
    }
    text.push_str("\n\nRECORDS = {record.KIND: record for record in (");
    text.push_str(&LAYOUTS.iter().map(|l| l.name).collect::<Vec<_>>().join(", "));
    text.push_str(")}\n");
    text
}
