//! RFC 3161: asking for a timestamp, and checking the token that comes back, which is CMS signed data (RFC 5652).
//!
//! Not checked is whether the authority's certificate was revoked: that cannot be known offline.

use anyhow::{Context as _, bail, ensure};
use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage};

/// The value of an object identifier's element.
type Oid = &'static [u8];
const SIGNED_DATA: Oid = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const TST_INFO: Oid = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];
const CONTENT_TYPE: Oid = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
const MESSAGE_DIGEST: Oid = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
const SHA_256: Oid = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const SHA_384: Oid = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
const SHA_512: Oid = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03];
/// `id-kp-timeStamping`: what the authority's certificate must be for.
const TIME_STAMPING: Oid = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08];

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]`, of a constructed element.
const TAGGED: u8 = 0xa0;

/// A request for a timestamp of a digest that asks for the certificates too. `nonce` begins with a byte from 1 to 127.
pub(super) fn request(digest: &[u8; 32], nonce: [u8; 8]) -> Vec<u8> {
    let element = |tag: u8, parts: &[&[u8]]| {
        let content = parts.concat();
        [header(tag, content.len()), content].concat()
    };
    let algorithm = element(SEQUENCE, &[&element(OID, &[SHA_256]), &[0x05, 0x00]]);
    let imprint = element(SEQUENCE, &[&algorithm, &element(OCTETS, &[digest])]);
    element(SEQUENCE, &[&element(INTEGER, &[&[1]]), &imprint, &element(INTEGER, &[&nonce]), &[0x01, 0x01, 0xff]])
}

/// The token of a response, if it grants one.
pub(super) fn response(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut response = only(bytes, SEQUENCE)?;
    let mut status = take(&mut response, SEQUENCE)?.content;
    match take(&mut status, INTEGER)?.content {
        [0 | 1] => Ok(take(&mut response, SEQUENCE)?.whole.to_vec()),
        code => bail!("the authority refuses, with the status {code:?}"),
    }
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// When, in seconds since 1970-01-01 UTC by the authority's clock.
    pub at: i64,
    digest: Vec<u8>,
    nonce: Vec<u8>,
}

impl Stamp {
    /// The time, for people.
    pub(crate) fn time(&self) -> String {
        crate::render::time(self.at.saturating_mul(1_000_000))
    }

    /// True if it answers the request with this nonce.
    pub(super) fn answers(&self, nonce: [u8; 8]) -> bool {
        self.nonce == nonce
    }
}

/// Checks a token over a digest. With `authorities`, its signer's certificate must lead to one of them, and be for timestamps.
pub(crate) fn verify(token: &[u8], digest: &[u8; 32], authorities: &[CertificateDer<'_>]) -> anyhow::Result<Stamp> {
    let mut content = only(token, SEQUENCE).context("the timestamp is no token")?;
    ensure!(take(&mut content, OID)?.content == SIGNED_DATA, "the timestamp is no signed data");
    let data = Signed::read(only(take(&mut content, TAGGED)?.content, SEQUENCE)?)?;
    let stamp = stamp(data.info)?;
    ensure!(stamp.digest == digest, "the timestamp is of something else");
    let attributes = data.attributes(data.info)?;
    let certificates = certificates(data.certificates)?;
    let by = |certificate: &&CertificateDer<'_>| {
        let Ok(holder) = EndEntityCert::try_from(*certificate) else { return false };
        let mut algorithms = webpki::ALL_VERIFICATION_ALGS.iter();
        algorithms.any(|algorithm| holder.verify_signature(*algorithm, &attributes, data.signature).is_ok())
    };
    let signer =
        certificates.iter().find(by).context("no certificate in the timestamp is of the key that signed it")?;
    if !authorities.is_empty() {
        leads_to(signer, &certificates, authorities, stamp.at)?;
    }
    Ok(stamp)
}

/// The certificates were valid at the time of the stamp: the evidence outlives them.
fn leads_to(
    signer: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    authorities: &[CertificateDer<'_>],
    at: i64,
) -> anyhow::Result<()> {
    let anchors = authorities.iter().map(webpki::anchor_from_trusted_cert).collect::<Result<Vec<_>, _>>();
    let anchors = anchors.map_err(|e| anyhow::anyhow!("a certificate of the authority: {e}"))?;
    let signer = EndEntityCert::try_from(signer).map_err(|e| anyhow::anyhow!("{e}"))?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at)?));
    let usage = KeyUsage::required(TIME_STAMPING);
    let path = signer.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, between, time, usage, None, None);
    path.map_err(|e| anyhow::anyhow!("its signer's certificate does not lead to the authority: {e}"))?;
    Ok(())
}

/// The parts of signed data with one signer.
struct Signed<'a> {
    info: &'a [u8],
    certificates: &'a [u8],
    digest_algorithm: &'a [u8],
    attribute_bytes: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    fn read(mut data: &'a [u8]) -> anyhow::Result<Self> {
        take(&mut data, INTEGER)?;
        take(&mut data, SET)?;
        let mut encapsulated = take(&mut data, SEQUENCE)?.content;
        ensure!(take(&mut encapsulated, OID)?.content == TST_INFO, "what was signed is no timestamp");
        let info = only(take(&mut encapsulated, TAGGED)?.content, OCTETS)?;
        let certificates = optional(&mut data, TAGGED).map_or(&[][..], |element| element.content);
        optional(&mut data, TAGGED | 1);
        let mut signer = only(take(&mut data, SET)?.content, SEQUENCE)?;
        take(&mut signer, INTEGER)?;
        any(&mut signer)?;
        let digest_algorithm = take(&mut take(&mut signer, SEQUENCE)?.content, OID)?.content;
        let attribute_bytes = take(&mut signer, TAGGED)?.content;
        take(&mut signer, SEQUENCE)?;
        let signature = take(&mut signer, OCTETS)?.content;
        Ok(Self { info, certificates, digest_algorithm, attribute_bytes, signature })
    }

    /// The bytes that were signed: the attributes as a set. They must hold the digest of what is stamped.
    fn attributes(&self, info: &[u8]) -> anyhow::Result<Vec<u8>> {
        let digest = match self.digest_algorithm {
            SHA_256 => Sha256::digest(info).to_vec(),
            SHA_384 => Sha384::digest(info).to_vec(),
            SHA_512 => Sha512::digest(info).to_vec(),
            other => bail!("the digest algorithm {} is not known", crate::render::hex(other)),
        };
        ensure!(self.attribute(MESSAGE_DIGEST, OCTETS)? == digest, "what was signed is not what is stamped");
        ensure!(self.attribute(CONTENT_TYPE, OID)? == TST_INFO, "what was signed is no timestamp");
        Ok(set(self.attribute_bytes))
    }

    /// The only value of an attribute that is there once.
    fn attribute(&self, name: Oid, tag: u8) -> anyhow::Result<&'a [u8]> {
        let (mut rest, mut found) = (self.attribute_bytes, None);
        while !rest.is_empty() {
            let mut attribute = take(&mut rest, SEQUENCE)?.content;
            if take(&mut attribute, OID)?.content == name {
                let value = only(take(&mut attribute, SET)?.content, tag)?;
                ensure!(found.replace(value).is_none(), "a signed attribute is there twice");
            }
        }
        found.context("a signed attribute is missing")
    }
}

/// What was signed carries the tag of a set, which the token leaves out.
fn set(content: &[u8]) -> Vec<u8> {
    [&header(SET, content.len())[..], content].concat()
}

/// The tag and the length of an element.
fn header(tag: u8, len: usize) -> Vec<u8> {
    if len < 0x80 {
        return vec![tag, len as u8];
    }
    let bytes = len.to_be_bytes();
    let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    [&[tag, 0x80 | bytes.len() as u8], bytes].concat()
}

fn stamp(info: &[u8]) -> anyhow::Result<Stamp> {
    let mut info = only(info, SEQUENCE)?;
    take(&mut info, INTEGER)?;
    take(&mut info, OID)?;
    let mut imprint = take(&mut info, SEQUENCE)?.content;
    let algorithm = take(&mut take(&mut imprint, SEQUENCE)?.content, OID)?.content;
    ensure!(algorithm == SHA_256, "the timestamp is not of a SHA-256 digest");
    let digest = take(&mut imprint, OCTETS)?.content.to_vec();
    take(&mut info, INTEGER)?;
    let at = time(take(&mut info, TIME)?.content)?;
    // Accuracy and ordering may stand before the nonce.
    optional(&mut info, SEQUENCE);
    optional(&mut info, 0x01);
    let nonce = optional(&mut info, INTEGER).map_or_else(Vec::new, |nonce| nonce.content.to_vec());
    Ok(Stamp { at, digest, nonce })
}

/// Seconds since 1970-01-01 UTC; fractions are cut off.
fn time(text: &[u8]) -> anyhow::Result<i64> {
    let text = std::str::from_utf8(text)?.strip_suffix('Z').context("the time is not UTC")?;
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", whole).context("the time is not understood")?;
    Ok(time.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp().as_second())
}

fn certificates(mut bytes: &[u8]) -> anyhow::Result<Vec<CertificateDer<'_>>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        all.push(CertificateDer::from(any(&mut bytes)?.whole));
    }
    Ok(all)
}

/// An element of DER.
struct Element<'a> {
    /// Its first byte.
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

/// The next element. Of DER nothing else is needed than this: tags of one byte, and lengths in their shortest form.
fn any<'a>(input: &mut &'a [u8]) -> anyhow::Result<Element<'a>> {
    let all = *input;
    let [tag, first, rest @ ..] = all else { bail!("it ends early") };
    ensure!(tag & 0x1f != 0x1f, "an element has a tag of several bytes");
    let (len, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (len, rest) = rest.split_at_checked(usize::from(first & 0x7f)).context("it ends early")?;
            (len.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => bail!("a length is not definite, or too large"),
    };
    let (content, behind) = rest.split_at_checked(len).context("it ends early")?;
    let whole = &all[..all.len() - behind.len()];
    ensure!(header(*tag, len).len() + len == whole.len(), "a length is not in its shortest form");
    *input = behind;
    Ok(Element { tag: *tag, content, whole })
}

/// The next element, of this kind.
fn take<'a>(input: &mut &'a [u8], tag: u8) -> anyhow::Result<Element<'a>> {
    let element = any(input)?;
    ensure!(element.tag == tag, "an element of the kind {tag:#04x} belongs where one of {:#04x} is", element.tag);
    Ok(element)
}

/// The next element, if it is of this kind.
fn optional<'a>(input: &mut &'a [u8], tag: u8) -> Option<Element<'a>> {
    if input.first() == Some(&tag) { any(input).ok() } else { None }
}

/// The content of an element with nothing behind it.
fn only(mut input: &[u8], tag: u8) -> anyhow::Result<&[u8]> {
    let element = take(&mut input, tag)?;
    ensure!(input.is_empty(), "there are bytes behind the end");
    Ok(element.content)
}
