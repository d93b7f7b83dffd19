//! Records of TLS 1.3 under AES-GCM (RFC 8446, 5.2 to 5.4): opened where they lie, and sealed from
//! where the plaintext is into where the record leaves from.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Nonce, TlsProtocolId, TlsRecordOpeningKey, TlsRecordSealingKey,
};
use rustls::{ConnectionTrafficSecrets, ContentType, Error, PeerMisbehaved};

use super::session::{HEADER_BYTES, RECORD_PLAIN_BYTES_MAX};

/// What a record adds to its plaintext: header, content type, tag.
pub(super) const OVERHEAD_BYTES: usize = HEADER_BYTES + 1 + TAG_BYTES;

const TAG_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;

/// Keys of one direction: the numbers that go into the nonce (RFC 8446, 5.3).
struct Counter {
    iv: [u8; NONCE_BYTES],
    seq: u64,
}

impl Counter {
    fn new(seq: u64, iv: &[u8]) -> Result<Self, Error> {
        let iv = iv.try_into().map_err(|_| Error::General("an IV that is no nonce".to_owned()))?;
        Ok(Self { iv, seq })
    }

    /// The nonce of the next record.
    fn nonce(&self) -> Nonce {
        let mut nonce = self.iv;
        for (byte, seq) in nonce[NONCE_BYTES - 8..].iter_mut().zip(self.seq.to_be_bytes()) {
            *byte ^= seq;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Opens what the peer has sealed.
pub(super) struct Opener {
    key: TlsRecordOpeningKey,
    counter: Counter,
}

impl Opener {
    pub(super) fn new(seq: u64, secrets: &ConnectionTrafficSecrets) -> Result<Self, Error> {
        let (algorithm, key, iv) = of_aes_gcm(secrets)?;
        let key = TlsRecordOpeningKey::new(algorithm, TlsProtocolId::TLS13, key);
        let key = key.map_err(|_| Error::General("a key of wrong length".to_owned()))?;
        Ok(Self { key, counter: Counter::new(seq, iv)? })
    }

    /// Opens `record`, header and all, in place: what it is and its content.
    ///
    /// # Errors
    ///
    /// It was damaged or forged, has too much content, or has none and no type.
    pub(super) fn open<'a>(
        &mut self,
        record: &'a mut [u8],
    ) -> Result<(ContentType, &'a [u8]), Error> {
        let (header, sealed) = record.split_at_mut(HEADER_BYTES);
        let opened = self.key.open_in_place(self.counter.nonce(), Aad::from(&*header), sealed);
        let inner: &[u8] = opened.map_err(|_| Error::DecryptError)?;
        self.counter.seq += 1;
        if inner.len() > RECORD_PLAIN_BYTES_MAX + 1 {
            return Err(Error::PeerSentOversizedRecord);
        }
        // Zeros behind the type are padding.
        match inner.iter().rposition(|byte| *byte != 0) {
            Some(end) => Ok((ContentType::from(inner[end]), &inner[..end])),
            None => Err(PeerMisbehaved::IllegalTlsInnerPlaintext.into()),
        }
    }
}

/// Seals what the peer will open.
pub(super) struct Sealer {
    key: TlsRecordSealingKey,
    counter: Counter,
}

impl Sealer {
    pub(super) fn new(seq: u64, secrets: &ConnectionTrafficSecrets) -> Result<Self, Error> {
        let (algorithm, key, iv) = of_aes_gcm(secrets)?;
        let key = TlsRecordSealingKey::new(algorithm, TlsProtocolId::TLS13, key);
        let key = key.map_err(|_| Error::General("a key of wrong length".to_owned()))?;
        let mut sealer = Self { key, counter: Counter::new(0, iv)? };
        if seq > 0 {
            // The key takes the first nonce that it sees for that of record 0, and refuses to go
            // back. This record goes nowhere.
            sealer.seal(ContentType::ApplicationData, &[], &mut [0; OVERHEAD_BYTES])?;
            sealer.counter.seq = seq;
        }
        Ok(sealer)
    }

    /// Records that have been sealed with this key.
    pub(super) fn sealed_records(&self) -> u64 {
        self.counter.seq
    }

    /// Seals `plain`, 16 KiB at most, as one record at the front of `room`, which must hold it.
    pub(super) fn seal(
        &mut self,
        typ: ContentType,
        plain: &[u8],
        room: &mut [u8],
    ) -> Result<usize, Error> {
        let sealed_bytes = plain.len() + 1 + TAG_BYTES;
        let length = u16::try_from(sealed_bytes).map_err(|_| Error::EncryptError)?;
        let record = room.get_mut(..HEADER_BYTES + sealed_bytes).ok_or(Error::EncryptError)?;
        let (header, sealed) = record.split_at_mut(HEADER_BYTES);
        let [high, low] = length.to_be_bytes();
        header.copy_from_slice(&[u8::from(ContentType::ApplicationData), 3, 3, high, low]);
        let (ciphertext, end) = sealed.split_at_mut(plain.len());
        self.key
            .seal_out_of_place_scatter(
                self.counter.nonce(),
                Aad::from(&*header),
                plain,
                ciphertext,
                &[u8::from(typ)],
                end,
            )
            .map_err(|_| Error::EncryptError)?;
        self.counter.seq += 1;
        Ok(record.len())
    }
}

type AesGcm<'a> = (&'static aws_lc_rs::aead::Algorithm, &'a [u8], &'a [u8]);

fn of_aes_gcm(secrets: &ConnectionTrafficSecrets) -> Result<AesGcm<'_>, Error> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => {
            Ok((&AES_128_GCM, key.as_ref(), iv.as_ref()))
        }
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => {
            Ok((&AES_256_GCM, key.as_ref(), iv.as_ref()))
        }
        _ => Err(Error::General("keys of another cipher than AES-GCM".to_owned())),
    }
}
