//! The self-signed certificate that goes with each key.
//!
//! Stytch's key set carries `x5c` and `x5tS256` for every key, so ours does. No SDK reads them,
//! which is why the certificate holds no more than X.509 makes it: version 1, one name, fixed dates.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::error::Unspecified;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const NULL: [u8; 2] = [0x05, 0x00];
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

const RSA_ENCRYPTION: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const SHA256_WITH_RSA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// A certificate, in DER, for a PKCS #1 public key; `sign` is that key's RSA with SHA-256.
pub(super) fn self_signed(
    public_key: &[u8],
    sign: impl Fn(&[u8]) -> Result<Vec<u8>, Unspecified>,
) -> Result<Vec<u8>, Unspecified> {
    let name = der(
        SEQUENCE,
        &[&der(
            SET,
            &[&der(
                SEQUENCE,
                &[&der(OBJECT_IDENTIFIER, &[&COMMON_NAME]), &der(UTF8_STRING, &[b"stytch-emulator"])],
            )],
        )],
    );
    let validity = der(SEQUENCE, &[&der(UTC_TIME, &[b"260101000000Z"]), &der(UTC_TIME, &[b"460101000000Z"])]);
    let key = der(SEQUENCE, &[&algorithm(&RSA_ENCRYPTION), &der(BIT_STRING, &[&[0], public_key])]);
    let body =
        der(SEQUENCE, &[&der(INTEGER, &[&[1]]), &algorithm(&SHA256_WITH_RSA), &name, &validity, &name, &key]);
    let signature = der(BIT_STRING, &[&[0], &sign(&body)?]);
    Ok(der(SEQUENCE, &[&body, &algorithm(&SHA256_WITH_RSA), &signature]))
}

pub(super) fn base64(certificate: &[u8]) -> String {
    STANDARD.encode(certificate)
}

pub(super) fn thumbprint(certificate: &[u8]) -> String {
    STANDARD.encode(digest(&SHA256, certificate))
}

fn algorithm(identifier: &[u8]) -> Vec<u8> {
    der(SEQUENCE, &[&der(OBJECT_IDENTIFIER, &[identifier]), &NULL])
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().position(|&byte| byte != 0).unwrap_or(length.len() - 1)..];
    let mut encoded = vec![tag];
    if content.len() >= 0x80 {
        encoded.push(0x80 | significant.len() as u8);
    }
    encoded.extend_from_slice(significant);
    encoded.extend(content);
    encoded
}
