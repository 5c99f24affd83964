//! Certificate authorities, and what they certify, in files.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::folder::Folder;

/// An authority that no system trusts by itself.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: Folder,
}

/// The paths of a certificate and of its key.
pub(crate) struct Certified {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Until when a certificate is good.
pub(crate) enum Until {
    Later,
    LongAgo,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = params(&[], "an authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        Authority { issuer, folder: Folder::new() }
    }

    /// The file with its own certificate.
    pub(crate) fn file(&self) -> String {
        self.folder.write("authority.pem", &self.issuer.pem())
    }

    /// Certifies that the holder of the key has these names.
    pub(crate) fn certify(&self, names: &[&str], until: Until) -> Certified {
        let mut params = params(names, names[0]);
        if matches!(until, Until::LongAgo) {
            (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Certified {
            certificate: self.folder.write(&format!("{}.pem", names[0]), &certificate.pem()),
            key: self.folder.write(&format!("{}.key", names[0]), &key.serialize_pem()),
        }
    }
}

fn params(names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}
