//! Who asked: what a server that may do everything does in the storage folder, it does with its caller's rights.

use std::io;

use fuser::Request;
use rustix::process::{Gid, Uid, getgid, getgroups, getuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// This thread has its caller's rights while this exists. Groups other than the first are not known: what only they
/// allow is refused.
#[derive(Debug)]
pub(crate) struct AsCaller {
    /// What the thread had, if that is something else.
    before: Option<(Uid, Gid, Vec<Gid>)>,
}

impl AsCaller {
    /// A server without rights of its own leaves things as they are: the kernel lets in nobody but its owner.
    pub(crate) fn of(request: &Request) -> io::Result<Self> {
        Self::of_user(request.uid(), request.gid())
    }

    fn of_user(uid: u32, gid: u32) -> io::Result<Self> {
        if !getuid().is_root() || uid == 0 {
            return Ok(Self { before: None });
        }
        let before = (getuid(), getgid(), getgroups()?);
        // What was changed already goes back if the rest fails.
        let changed = Self { before: Some(before) };
        let gid = Gid::from_raw(gid);
        set_thread_groups(&[gid])?;
        set_thread_res_gid(None, gid, None)?;
        set_thread_res_uid(None, Uid::from_raw(uid), None)?;
        Ok(changed)
    }
}

impl Drop for AsCaller {
    fn drop(&mut self) {
        let Some((uid, gid, groups)) = self.before.take() else { return };
        let back = set_thread_res_uid(None, uid, None)
            .and_then(|()| set_thread_res_gid(None, gid, None))
            .and_then(|()| set_thread_groups(&groups));
        back.expect("a thread gets back the rights that it keeps in reserve");
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn files_are_the_callers_and_others_files_are_not() {
        if !getuid().is_root() {
            println!("SKIPPED: only root has the rights of others");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let secret = folder.path().join("secret");
        fs::write(&secret, "root's").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        {
            let _caller = AsCaller::of_user(1234, 4321).unwrap();
            assert!(File::open(&secret).is_err(), "it is root's alone");
            fs::write(folder.path().join("own"), "mine").unwrap();
        }
        assert_eq!(fs::read(&secret).unwrap(), b"root's", "the rights are back");
        let own = fs::metadata(folder.path().join("own")).unwrap();
        assert_eq!((own.uid(), own.gid()), (1234, 4321));
    }
}
