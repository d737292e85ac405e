//! What do a client's offers and a server's configuration have in common? (RFC 5246 section 7.4.1,
//! RFC 7250 section 4, RFC 7627 section 5, RFC 8422 sections 4 and 5, RFC 9146 section 3)

use std::sync::Arc;

use tidegate_crypto::agreement::Group;
use tidegate_crypto::signature::{Scheme, SigningKey};

use super::config::{Config, Identity};
use crate::certificate::CertificateType;
use crate::established::{Negotiated, peer_cid_bytes_max};
use crate::extension::{CertificateTypes, Extensions, codes};
use crate::failure::Failure;
use crate::hello::ClientHello;
use crate::record::{CID_BYTES_MAX, DTLS_1_2};
use crate::suite::{EMPTY_RENEGOTIATION_INFO_SCSV, KeyExchange, Suite};

/// What holds for the association, whatever its keys come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    own_cid_len: usize,
    /// `None` when the extension was not offered, or can't be taken up.
    peer_cid: Option<([u8; CID_BYTES_MAX], usize)>,
    pub(super) extended_master_secret: bool,
    pub(super) max_fragment_length: Option<u8>,
    return_routability: bool,
    renegotiation_info: bool,
}

/// Where the keys of a full handshake come from.
#[derive(Clone, Debug)]
pub(super) struct Agreed {
    pub(super) suite: Suite,
    /// Of the key agreement, if the suite has one.
    pub(super) group: Option<Group>,
    /// Who we are and how the client shows who it is, if the suite has certificates.
    pub(super) proof: Option<Proof>,
}

/// How both sides prove who they are with [`KeyExchange::EcdheEcdsa`].
#[derive(Clone, Debug)]
pub(super) struct Proof {
    pub(super) identity: Arc<Identity>,
    /// The client asked for a name and the identity claims it.
    is_named: bool,
    pub(super) server_type: CertificateType,
    pub(super) client_type: CertificateType,
}

impl Terms {
    /// What every handshake has to agree upon, or fails.
    pub(super) fn agree(config: &Config, hello: &ClientHello<'_>) -> Result<Self, Failure> {
        // One's complement: a smaller number is a newer version.
        if hello.head.version > DTLS_1_2 {
            return Err(Failure::Version);
        }
        let extensions = &hello.extensions;
        if extensions.renegotiation_info.is_some_and(|previous| !previous.is_empty()) {
            return Err(Failure::Renegotiation);
        }
        let extended_master_secret = extensions.extended_master_secret;
        if config.require_extended_master_secret && !extended_master_secret {
            return Err(Failure::NoExtendedMasterSecret);
        }
        // A Connection ID that is longer than we can send: as if the extension were not there.
        let offered = extensions.connection_id.filter(|cid| cid.len() <= CID_BYTES_MAX);
        let peer_cid = offered.map(|offered| {
            let mut cid = [0; CID_BYTES_MAX];
            cid[..offered.len()].copy_from_slice(offered);
            (cid, offered.len())
        });
        Ok(Self {
            own_cid_len: if peer_cid.is_some() { config.own_cid_len } else { 0 },
            peer_cid,
            extended_master_secret,
            max_fragment_length: extensions.max_fragment_length,
            return_routability: config.return_routability
                && extensions.return_routability_check
                && peer_cid.is_some(),
            renegotiation_info: extensions.renegotiation_info.is_some()
                || hello.offers(EMPTY_RENEGOTIATION_INFO_SCSV),
        })
    }

    /// What is left of it with this suite: a Connection ID for which its keys leave no room is as
    /// if it were not offered.
    pub(super) fn with(self, suite: Suite) -> Self {
        let longest = peer_cid_bytes_max(suite);
        let peer_cid = self.peer_cid.filter(|(_, len)| *len <= longest);
        let (own_cid_len, return_routability) = match peer_cid {
            Some(_) => (self.own_cid_len, self.return_routability),
            None => (0, false),
        };
        Self { own_cid_len, peer_cid, return_routability, ..self }
    }

    /// What the records of the association look like.
    pub(super) fn negotiated(&self, suite: Suite) -> Negotiated<'_> {
        Negotiated {
            suite,
            own_cid_len: self.own_cid_len,
            peer_cid: self.peer_cid.as_ref().map_or(&[], |(cid, len)| &cid[..*len]),
            extended_master_secret: self.extended_master_secret,
            max_fragment_length: self.max_fragment_length,
            return_routability: self.return_routability,
        }
    }

    /// The Connection ID that records toward us carry; `own_cid` is the one we would announce.
    pub(super) fn own_cid<'a>(&self, own_cid: &'a [u8]) -> &'a [u8] {
        &own_cid[..self.own_cid_len]
    }

    /// The part of the ServerHello that says so. Only what was offered is answered (RFC 5246
    /// section 7.4.1.4).
    pub(super) fn answer<'a>(&self, own_cid: &'a [u8]) -> Extensions<'a> {
        Extensions {
            max_fragment_length: self.max_fragment_length,
            extended_master_secret: self.extended_master_secret,
            connection_id: self.peer_cid.map(|_| self.own_cid(own_cid)),
            return_routability_check: self.return_routability,
            renegotiation_info: self.renegotiation_info.then_some(&[]),
            ..Extensions::NONE
        }
    }
}

impl Agreed {
    /// The first suite of ours that is offered and has all it needs.
    pub(super) fn choose(config: &Config, hello: &ClientHello<'_>) -> Result<Self, Failure> {
        let extensions = &hello.extensions;
        // RFC 8422 section 5.1.2.
        if extensions.supported_groups.is_some()
            && extensions.ec_point_formats.is_some_and(|formats| !formats.contains(&UNCOMPRESSED))
        {
            return Err(Failure::Illegal);
        }
        let group = common_group(config, extensions);
        let mut failure = Failure::NoCommonSuite;
        for suite in config.suites.iter().copied().filter(|suite| hello.offers(suite.code())) {
            match suite.key_exchange() {
                KeyExchange::Psk => return Ok(Self { suite, group: None, proof: None }),
                KeyExchange::EcdhePsk if group.is_some() => {
                    return Ok(Self { suite, group, proof: None });
                }
                KeyExchange::EcdheEcdsa if group.is_some() => {
                    match Proof::choose(config, extensions) {
                        Ok(proof) => return Ok(Self { suite, group, proof: Some(proof) }),
                        Err(reason) => failure = reason,
                    }
                }
                KeyExchange::EcdhePsk | KeyExchange::EcdheEcdsa => {}
            }
        }
        Err(failure)
    }

    /// Adds to a ServerHello what the key exchange has to say.
    pub(super) fn answer<'a>(
        &self,
        offered: &Extensions<'_>,
        answer: Extensions<'a>,
    ) -> Extensions<'a> {
        let is_asked = self.group.is_some() && offered.ec_point_formats.is_some();
        let mut answer =
            Extensions { ec_point_formats: is_asked.then_some(&[UNCOMPRESSED]), ..answer };
        if let Some(proof) = &self.proof {
            let chosen = |offered: Option<_>, certificate_type: CertificateType| {
                offered.map(|_: CertificateTypes<'_>| {
                    CertificateTypes::Chosen(certificate_type.code())
                })
            };
            answer.client_certificate_type =
                chosen(offered.client_certificate_type, proof.client_type);
            answer.server_certificate_type =
                chosen(offered.server_certificate_type, proof.server_type);
            answer.server_name = proof.is_named.then_some(&[]);
        }
        answer
    }
}

impl Proof {
    fn choose(config: &Config, offered: &Extensions<'_>) -> Result<Self, Failure> {
        let can_judge = config.authorities.as_ref().is_some_and(|known| !known.is_empty());
        let client_type = first_of(offered.client_certificate_type, |certificate_type| {
            certificate_type == CertificateType::RawPublicKey || can_judge
        })
        .ok_or(Failure::NoCommonCertificateType)?;
        // *Why apart:* a device knows the raw key by heart, and a certificate's is renewed with it.
        let has_raw_key = config
            .identities
            .iter()
            .any(|identity| identity.chain.is_empty() && can_verify(offered, &identity.key));
        let mut failure = Failure::NoCommonSuite;
        for (identity, is_named) in config.identities_for(offered.server_name) {
            if !can_verify(offered, &identity.key) {
                continue;
            }
            let is_raw_key = identity.chain.is_empty();
            let can_show = |certificate_type| match certificate_type {
                CertificateType::RawPublicKey => is_raw_key || !has_raw_key,
                CertificateType::X509 => !is_raw_key,
            };
            match first_of(offered.server_certificate_type, can_show) {
                None => failure = Failure::NoCommonCertificateType,
                Some(server_type) => {
                    let identity = Arc::clone(identity);
                    return Ok(Self { identity, is_named, server_type, client_type });
                }
            }
        }
        Err(failure)
    }
}

/// The client's favourite among the certificate types that can be had. Without the extension it
/// means X.509 (RFC 7250 section 4.1).
fn first_of(
    offered: Option<CertificateTypes<'_>>,
    is_possible: impl Fn(CertificateType) -> bool,
) -> Option<CertificateType> {
    let offered = match offered {
        Some(CertificateTypes::Offered(types)) => types,
        Some(CertificateTypes::Chosen(_)) | None => &[0],
    };
    let known = offered.iter().filter_map(|code| CertificateType::from_code(*code));
    known.into_iter().find(|certificate_type| is_possible(*certificate_type))
}

/// Our favourite group among the client's. A client without the extension takes any; P-256 is the
/// one that all have (RFC 8422 section 4).
fn common_group(config: &Config, offered: &Extensions<'_>) -> Option<Group> {
    let mut ours = config.groups.iter().copied();
    match offered.supported_groups {
        Some(pairs) => ours.find(|group| codes(pairs).any(|code| code == group.code())),
        None => ours.clone().find(|group| *group == Group::Secp256r1).or_else(|| ours.next()),
    }
}

/// Whether the client can verify what this key signs. A client without the
/// extension does not mean SHA-1 in our profile but SHA-256 (RFC 7925 section 4.4).
fn can_verify(offered: &Extensions<'_>, key: &SigningKey) -> bool {
    let (scheme, curve) = (key.scheme(), key.group());
    let knows_scheme = match offered.signature_algorithms {
        Some(pairs) => codes(pairs).any(|code| code == scheme.code()),
        None => scheme == Scheme::EcdsaSecp256r1Sha256,
    };
    let knows_curve =
        offered.supported_groups.is_none_or(|pairs| codes(pairs).any(|code| code == curve.code()));
    knows_scheme && knows_curve
}

/// `ECPointFormat`: the only one that RFC 8422 still has.
const UNCOMPRESSED: u8 = 0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::server::Identity;

    fn identity(chain: &[&[u8]], name: &str) -> Arc<Identity> {
        let key = SigningKey::from_pkcs8(SigningKey::generate().as_bytes()).unwrap();
        let chain = chain.iter().map(|der| der.to_vec()).collect();
        Arc::new(Identity { key, chain, names: vec![name.to_owned()] })
    }

    fn shown(identities: &[Arc<Identity>], types: &[u8], name: &[u8]) -> (usize, CertificateType) {
        let config = Config { identities: identities.to_vec(), ..Config::default() };
        let offered = Extensions {
            client_certificate_type: Some(CertificateTypes::Offered(&[2])),
            server_certificate_type: Some(CertificateTypes::Offered(types)),
            server_name: Some(name),
            ..Extensions::default()
        };
        let proof = Proof::choose(&config, &offered).unwrap();
        let at = identities.iter().position(|one| Arc::ptr_eq(one, &proof.identity)).unwrap();
        (at, proof.server_type)
    }

    #[test]
    fn a_raw_key_is_shown_to_who_wants_one_whatever_server_it_names() {
        use CertificateType::{RawPublicKey, X509};
        let all = [identity(&[], ""), identity(&[b"a"], "a"), identity(&[b"b"], "b")];
        for (types, name, expected) in [
            (&[2][..], &b"b"[..], (0, RawPublicKey)),
            (&[2], b"other", (0, RawPublicKey)),
            (&[0], b"b", (2, X509)),
            (&[0], b"other", (1, X509)),
            (&[0, 2], b"b", (2, X509)),
        ] {
            assert_eq!(shown(&all, types, name), expected, "{types:?} {name:?}");
        }
        // Without one, a certificate's key has to do.
        assert_eq!(shown(&all[1..], &[2], b"b"), (1, RawPublicKey));
    }
}
