//! Encrypted files that open with the empty password.

use lopdf::encryption::decrypt_object;
use lopdf::{Dictionary, Document, EncryptionState, Object, Stream};

use crate::convert::Error;

/// The key of a file and how it is used, as lopdf's security handlers have it.
#[derive(Debug)]
pub(super) struct Security {
    state: EncryptionState,
}

impl Security {
    /// Tries the empty password, as user and as owner. `encrypt` is the encryption dictionary
    /// without references, `id` the file identifier of the trailer.
    pub(super) fn open(encrypt: Dictionary, id: Option<Object>) -> Result<Self, Error> {
        let handler = encrypt.get(b"Filter").and_then(Object::as_name).unwrap_or_default();
        if handler != b"Standard" {
            return Err(Error::malformed(format!(
                "the PDF is encrypted by the handler {:?}, and only Standard is known",
                String::from_utf8_lossy(handler)
            ))
            .with_hint("save it without encryption"));
        }
        let mut document = Document::new();
        document.objects.insert((1, 0), Object::Dictionary(encrypt));
        document.trailer.set("Encrypt", Object::Reference((1, 0)));
        // Files without an identifier exist; the key is then made without it.
        let nameless =
            || Object::Array(vec![Object::string_literal(""), Object::string_literal("")]);
        document.trailer.set("ID", id.unwrap_or_else(nameless));
        let state = document
            .authenticate_password("")
            .and_then(|()| EncryptionState::decode(&document, b""))
            .map_err(|error| refused(&error))?;
        Ok(Self { state })
    }

    pub(super) fn decrypt_strings(&self, id: (u32, u16), object: &mut Object) {
        // A string that does not decrypt stays as it is; text does not come from these.
        let _ = decrypt_object(&self.state, id, object);
    }

    /// The plain bytes of a stream; as they are where they do not decrypt.
    pub(super) fn decrypt_stream(&self, id: (u32, u16), dict: &Dictionary, raw: &[u8]) -> Vec<u8> {
        // A cut file ends inside a block of AES: the whole blocks before the cut are good.
        for length in [raw.len(), raw.len() - raw.len() % 16] {
            let mut object = Object::Stream(Stream::new(dict.clone(), raw[..length].to_vec()));
            if decrypt_object(&self.state, id, &mut object).is_ok()
                && let Object::Stream(stream) = object
            {
                return stream.content;
            }
        }
        raw.to_vec()
    }
}

fn refused(error: &lopdf::Error) -> Error {
    use lopdf::encryption::DecryptionError::IncorrectPassword;
    match error {
        lopdf::Error::InvalidPassword | lopdf::Error::Decryption(IncorrectPassword) => {
            Error::malformed("the PDF is encrypted and needs a password to open").with_hint(
                "save it without a password, for example with `qpdf --decrypt --password=...`",
            )
        }
        other => {
            Error::malformed(format!("the PDF is encrypted in a way that cannot be read: {other}"))
                .with_hint("save it without encryption")
        }
    }
}
