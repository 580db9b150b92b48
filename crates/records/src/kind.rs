//! Records of all kinds together.

use zerocopy::IntoBytes;

use crate::{
    CommandRecord, CounterRecord, DieRecord, JobRecord, Layout, LinkRecord, Record, UnitRecord,
};

/// Makes the list of kinds, and what does the same with each.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident, $field:ident: $record:ident;)*) => {
        /// Kinds of records.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Kind {
            $($(#[doc = $doc])+ $kind,)*
        }

        impl Kind {
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// All kinds.
            pub const ALL: [Self; [$(Self::$kind),*].len()] = [$(Self::$kind),*];

            /// Its name for users, in the plural.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => stringify!($field),)* }
            }

            /// The layout of its records.
            pub const fn layout(self) -> Layout {
                match self { $(Self::$kind => $record::DESCRIPTION,)* }
            }
        }

        /// Records, of each kind in the order in which they were made.
        #[derive(Clone, PartialEq, Eq, Debug, Default)]
        pub struct Records {
            $($(#[doc = $doc])+ pub $field: Vec<$record>,)*
        }

        impl Records {
            /// Forgets all of them; the memory stays.
            pub fn clear(&mut self) {
                $(self.$field.clear();)*
            }

            /// True if there are none of any kind.
            pub fn is_empty(&self) -> bool {
                true $(&& self.$field.is_empty())*
            }

            /// Moves all records of another to the end of these; the other keeps its memory.
            pub fn append(&mut self, other: &mut Self) {
                $(self.$field.append(&mut other.$field);)*
            }

            /// How many there are of a kind.
            pub fn count(&self, kind: Kind) -> usize {
                match kind { $(Kind::$kind => self.$field.len(),)* }
            }

            /// Forgets records of a kind: the first so many after the first `from`.
            pub fn remove(&mut self, kind: Kind, from: usize, count: usize) {
                match kind { $(Kind::$kind => drop(self.$field.drain(from..from + count)),)* }
            }

            /// The records of a kind as bytes, one after the other.
            pub fn bytes(&self, kind: Kind) -> &[u8] {
                match kind { $(Kind::$kind => self.$field.as_bytes(),)* }
            }

            /// Appends records of a kind, of bytes. What is less than a record at the end is none.
            pub fn extend_from_bytes(&mut self, kind: Kind, bytes: &[u8]) {
                match kind { $(Kind::$kind => extend(&mut self.$field, bytes),)* }
            }
        }
    };
}

fn extend<R: Record>(records: &mut Vec<R>, bytes: &[u8]) {
    let all = bytes.chunks_exact(size_of::<R>());
    records.extend(all.filter_map(|bytes| R::read_from_bytes(bytes).ok()));
}

kinds! {
    /// Finished commands.
    Commands, commands: CommandRecord;
    /// Finished jobs.
    Jobs, jobs: JobRecord;
    /// Stays of jobs on compute units.
    Units, units: UnitRecord;
    /// Operations of flash dies.
    Dies, dies: DieRecord;
    /// Bytes that crossed links.
    Links, links: LinkRecord;
    /// What was counted at some times.
    Counters, counters: CounterRecord;
}
