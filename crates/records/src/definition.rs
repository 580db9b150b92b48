//! The macro that makes a record's structure and its description of one definition.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Stage;

/// A field of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// Its name in every language.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Bytes from the record's start.
    pub offset: usize,
    /// Bytes of one element: 1, 2, 4 or 8, an unsigned little-endian number.
    pub element_bytes: usize,
    /// Elements, if the field is an array.
    pub count: Option<usize>,
}

/// A number of a record as a table has it: a field, or an element of an array.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Bytes from the record's start.
    pub offset: usize,
    /// Bytes of the number: 1, 2, 4 or 8.
    pub bytes: usize,
}

impl Column {
    /// Its value in the bytes of a record.
    pub fn get(&self, record: &[u8]) -> u64 {
        let mut value = [0; 8];
        value[..self.bytes].copy_from_slice(&record[self.offset..self.offset + self.bytes]);
        u64::from_le_bytes(value)
    }

    /// Puts its value into the bytes of a record; false if it is too large.
    pub fn set(&self, record: &mut [u8], value: u64) -> bool {
        let bytes = value.to_le_bytes();
        record[self.offset..self.offset + self.bytes].copy_from_slice(&bytes[..self.bytes]);
        bytes[self.bytes..].iter().all(|byte| *byte == 0)
    }
}

impl Field {
    /// Names of its numbers in tables. What is reserved has none.
    fn names(&self) -> Vec<String> {
        match (self.name, self.count) {
            ("reserved", _) => Vec::new(),
            ("stages_ns", _) => Stage::ALL.map(|stage| format!("{}_ns", stage.name())).to_vec(),
            (name, None) => vec![name.to_owned()],
            (name, Some(count)) => (0..count).map(|n| format!("{name}_{n}")).collect(),
        }
    }
}

impl Layout {
    /// The columns of a table of such records.
    pub fn columns(&self) -> Vec<Column> {
        let of_field = |field: &Field| {
            let (first, bytes) = (field.offset, field.element_bytes);
            let names = field.names().into_iter().enumerate();
            names.map(move |(n, name)| Column { name, offset: first + n * bytes, bytes })
        };
        self.fields.iter().flat_map(of_field).collect()
    }
}

/// The layout of a kind of record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Tells the kinds of records apart.
    pub kind: u16,
    /// Its name in Rust and Python.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Bytes of a record.
    pub bytes: usize,
    /// Its fields, without gaps.
    pub fields: &'static [Field],
}

/// A record with its layout.
pub trait Record: FromBytes + IntoBytes + Immutable + KnownLayout + Copy {
    /// The layout.
    const DESCRIPTION: Layout;
}

/// What a field may be made of.
pub(crate) trait Scalar {
    const ELEMENT_BYTES: usize;
    const COUNT: Option<usize>;
}

macro_rules! scalar {
    ($($type:ty),*) => {$(
        impl Scalar for $type {
            const ELEMENT_BYTES: usize = size_of::<$type>();
            const COUNT: Option<usize> = None;
        }

        impl<const N: usize> Scalar for [$type; N] {
            const ELEMENT_BYTES: usize = size_of::<$type>();
            const COUNT: Option<usize> = Some(N);
        }
    )*};
}

scalar!(u8, u16, u32, u64);

/// Makes records, and the list of their layouts.
macro_rules! records {
    ($(
        #[doc = $doc:literal]
        $name:ident = $kind:literal {
            $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty,)*
        }
    )*) => {
        $(
            #[doc = $doc]
            #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
            #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
            #[repr(C)]
            pub struct $name {
                $($(#[doc = $field_doc])+ pub $field: $type,)*
            }

            impl Record for $name {
                const DESCRIPTION: Layout = Layout {
                    kind: $kind,
                    name: stringify!($name),
                    doc: $doc.trim_ascii(),
                    bytes: size_of::<$name>(),
                    fields: &[$(Field {
                        name: stringify!($field),
                        doc: concat!($($field_doc),+).trim_ascii(),
                        offset: core::mem::offset_of!($name, $field),
                        element_bytes: <$type as Scalar>::ELEMENT_BYTES,
                        count: <$type as Scalar>::COUNT,
                    },)*],
                };
            }
        )*

        /// The layouts of all records.
        pub const LAYOUTS: &[Layout] = &[$(<$name as Record>::DESCRIPTION,)*];
    };
}
pub(crate) use records;

// Records are little-endian everywhere.
const _: () = assert!(cfg!(target_endian = "little"), "records are little-endian");
