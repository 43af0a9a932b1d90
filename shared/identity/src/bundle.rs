//! A certificate with its key and the CA that made it, in memory and on disk.

use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use x509_parser::extensions::GeneralName;
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

impl Validity {
    /// That of a certificate in PEM, the first one if there are several.
    pub fn of(pem: &str) -> Result<Self, BadCertificate> {
        let unreadable = |error: String| BadCertificate::Unreadable(error);
        let (_, pem) = parse_x509_pem(pem.as_bytes()).map_err(|error| unreadable(error.to_string()))?;
        let certificate = pem.parse_x509().map_err(|error| unreadable(error.to_string()))?;
        let time =
            |seconds: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Ok(Self {
            from: time(certificate.validity().not_before.timestamp()),
            until: time(certificate.validity().not_after.timestamp()),
        })
    }

    /// When it was made: it is good from a little earlier on, since clocks differ.
    pub fn made(&self) -> SystemTime {
        self.from + crate::authority::CLOCK_SKEW
    }

    /// The moment at which `share` of its life is over, such as 0.5 for half.
    pub fn after_share(&self, share: f64) -> SystemTime {
        let life = self.until.duration_since(self.made()).unwrap_or_default();
        self.made() + life.mul_f64(share.clamp(0.0, 1.0))
    }
}

impl Bundle {
    /// The names of the three files in a folder.
    pub const FILES: [&'static str; 3] = ["ca.pem", "cert.pem", "key.pem"];

    /// Where a renewed bundle lies, all in one file, so that it is replaced as a whole.
    const RENEWED: &str = "renewed.pem";

    /// Reads a folder: its three files, or what they were renewed to, whichever was made later.
    pub fn load(folder: &Path) -> io::Result<Self> {
        let given = Self::load_given(folder);
        let renewed =
            fs::read_to_string(folder.join(Self::RENEWED)).ok().and_then(|text| Self::of_pem(&text));
        let Some(renewed) = renewed else { return given };
        let Ok(given) = given else { return Ok(renewed) };
        let from = |bundle: &Self| bundle.validity().map(|validity| validity.from).ok();
        let same = renewed.ca == given.ca && renewed.identity().ok() == given.identity().ok();
        Ok(if same && from(&renewed) >= from(&given) { renewed } else { given })
    }

    fn load_given(folder: &Path) -> io::Result<Self> {
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

    /// Writes it in place of the folder's bundle, whole or not at all, readable for its owner only.
    pub fn renew(&self, folder: &Path) -> io::Result<()> {
        let (path, new) = (folder.join(Self::RENEWED), folder.join("renewed.new"));
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(
            [self.ca.as_str(), &self.certificate, &self.key].map(str::trim_end).join("\n").as_bytes(),
        )?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        fs::File::open(folder)?.sync_all()
    }

    /// CA, certificate and key, one after the other.
    fn of_pem(text: &str) -> Option<Self> {
        const BEGIN: &str = "-----BEGIN ";
        let starts: Vec<usize> = text.match_indices(BEGIN).map(|(at, _)| at).collect();
        let [ca, certificate, key] = starts[..] else { return None };
        let part = |text: &str| format!("{}\n", text.trim_end());
        let bundle = Self {
            ca: part(&text[ca..certificate]),
            certificate: part(&text[certificate..key]),
            key: part(&text[key..]),
        };
        bundle.identity().is_ok().then_some(bundle)
    }

    /// Who it was given to.
    pub fn identity(&self) -> Result<Identity, BadCertificate> {
        let (_, pem) = parse_x509_pem(self.certificate.as_bytes())
            .map_err(|error| BadCertificate::Unreadable(error.to_string()))?;
        Identity::of_certificate(&pem.contents)
    }

    /// The host names and addresses that its certificate names besides the holder's own.
    pub fn hosts(&self) -> Result<Vec<String>, BadCertificate> {
        let unreadable = |error: String| BadCertificate::Unreadable(error);
        let (_, pem) =
            parse_x509_pem(self.certificate.as_bytes()).map_err(|error| unreadable(error.to_string()))?;
        let certificate = pem.parse_x509().map_err(|error| unreadable(error.to_string()))?;
        let names = certificate.subject_alternative_name().map_err(|error| unreadable(error.to_string()))?;
        let names = names.iter().flat_map(|names| &names.value.general_names);
        Ok(names.filter_map(|name| host(name)).filter(|name| !name.ends_with(".gantry")).collect())
    }

    /// When its certificate is good.
    pub fn validity(&self) -> Result<Validity, BadCertificate> {
        Validity::of(&self.certificate)
    }
}

fn host(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(|ip| ip.to_string())
        }
        _ => None,
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
        assert_eq!(identity.holder(), "node/n1");
        assert_eq!(bundle(Role::Proxy).identity().unwrap().holder(), "node/n1");
        assert_eq!(bundle(Role::Node).hosts().unwrap(), ["localhost", "127.0.0.1"]);
    }

    #[test]
    fn a_certificate_says_until_when_it_is_good() {
        let validity = bundle(Role::Admin).validity().unwrap();
        let left = validity.until.duration_since(SystemTime::now()).unwrap();
        assert!((3500..=3600).contains(&left.as_secs()), "{left:?}");
        let half = validity.after_share(0.5).duration_since(SystemTime::now()).unwrap();
        assert!((1700..=1800).contains(&half.as_secs()), "{half:?}");
    }

    #[test]
    fn a_renewed_bundle_is_used_until_a_later_one_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = ClusterId::new("c1").unwrap();
        let authority = Authority::create(&cluster, SystemTime::now()).unwrap();
        let identity = Identity { cluster, role: Role::Node, name: "n1".into() };
        let grant = |minutes: u64| Grant {
            identity: identity.clone(),
            hosts: Vec::new(),
            from: SystemTime::now() + Duration::from_mins(minutes),
            lifetime: Duration::from_hours(1),
        };
        let first = authority.issue(&grant(0)).unwrap();
        first.save(folder.path()).unwrap();

        let request = crate::Request::create().unwrap();
        let certificate = authority.sign(&request.request, &grant(1)).unwrap();
        let renewed = Bundle { ca: first.ca.clone(), certificate, key: request.key };
        renewed.renew(folder.path()).unwrap();
        assert_eq!(Bundle::load(folder.path()).unwrap(), renewed);
        assert_eq!(renewed.identity().unwrap(), identity);

        let later = authority.issue(&grant(2)).unwrap();
        later.save(folder.path()).unwrap();
        assert_eq!(Bundle::load(folder.path()).unwrap(), later);
        fs::write(folder.path().join("renewed.pem"), "half of it").unwrap();
        assert_eq!(Bundle::load(folder.path()).unwrap(), later);
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
