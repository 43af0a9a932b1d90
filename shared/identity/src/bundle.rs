//! A certificate with its key and the CA that made it, in memory and on disk.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use x509_parser::pem::parse_x509_pem;

use crate::name::{BadCertificate, Identity};

/// What one needs to speak: all three as PEM. `Debug` does not show the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The CA's certificate.
    pub ca: String,
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle").field("identity", &self.identity()).finish_non_exhaustive()
    }
}

/// When a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// From when on.
    pub from: SystemTime,
    /// Until when.
    pub until: SystemTime,
}

impl Bundle {
    /// The names of the three files in a folder.
    pub const FILES: [&'static str; 3] = ["ca.pem", "cert.pem", "key.pem"];

    /// Reads the three files of a folder.
    pub fn load(folder: &Path) -> io::Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
            })
        };
        let [ca, certificate, key] = Self::FILES;
        Ok(Self { ca: read(ca)?, certificate: read(certificate)?, key: read(key)? })
    }

    /// Writes the three files into a folder, readable for their owner only.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        for (name, content) in Self::FILES.into_iter().zip([&self.ca, &self.certificate, &self.key]) {
            let path = folder.join(name);
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
        }
        Ok(())
    }

    /// Who it was given to.
    pub fn identity(&self) -> Result<Identity, BadCertificate> {
        let (_, pem) = parse_x509_pem(self.certificate.as_bytes())
            .map_err(|error| BadCertificate::Unreadable(error.to_string()))?;
        Identity::of_certificate(&pem.contents)
    }

    /// When its certificate is good.
    pub fn validity(&self) -> Result<Validity, BadCertificate> {
        let unreadable = |error: String| BadCertificate::Unreadable(error);
        let (_, pem) =
            parse_x509_pem(self.certificate.as_bytes()).map_err(|error| unreadable(error.to_string()))?;
        let certificate = pem.parse_x509().map_err(|error| unreadable(error.to_string()))?;
        let time =
            |seconds: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Ok(Validity {
            from: time(certificate.validity().not_before.timestamp()),
            until: time(certificate.validity().not_after.timestamp()),
        })
    }
}

#[cfg(test)]
mod tests {
    use gantry_model::ClusterId;

    use super::*;
    use crate::{Authority, Grant, Role};

    fn bundle(role: Role) -> Bundle {
        let cluster = ClusterId::new("c1").unwrap();
        let authority = Authority::create(&cluster, SystemTime::now()).unwrap();
        let reloaded = Authority::load(authority.certificate(), authority.key()).unwrap();
        reloaded
            .issue(&Grant {
                identity: Identity { cluster, role, name: "n1".into() },
                hosts: vec!["localhost".into(), "127.0.0.1".into()],
                from: SystemTime::now(),
                lifetime: Duration::from_hours(1),
            })
            .unwrap()
    }

    #[test]
    fn a_certificate_says_who_its_holder_is() {
        let identity = bundle(Role::Node).identity().unwrap();
        assert_eq!(identity.uri(), "gantry://c1/node/n1");
    }

    #[test]
    fn a_certificate_says_until_when_it_is_good() {
        let validity = bundle(Role::Admin).validity().unwrap();
        let left = validity.until.duration_since(SystemTime::now()).unwrap();
        assert!((3500..=3600).contains(&left.as_secs()), "{left:?}");
    }

    #[test]
    fn a_saved_key_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let saved = bundle(Role::Admin);
        saved.save(folder.path()).unwrap();
        assert_eq!(Bundle::load(folder.path()).unwrap(), saved);
        let mode = fs::metadata(folder.path().join("key.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{saved:?}").contains("PRIVATE"));
    }
}
