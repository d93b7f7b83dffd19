//! Encrypted files that open with the empty password, or with one that the caller gives.

use lopdf::encryption::{PasswordAlgorithm, decrypt_object};
use lopdf::{Dictionary, Document, EncryptionState, Object, Stream};

use crate::convert::{Error, Password};

/// The key of a file and how it is used, as lopdf's security handlers have it.
#[derive(Debug)]
pub(super) struct Security {
    state: EncryptionState,
}

impl Security {
    /// Tries the empty password, and then the caller's. `encrypt` is the encryption dictionary
    /// without references, `id` the file identifier of the trailer.
    pub(super) fn open(
        encrypt: Dictionary,
        id: Option<Object>,
        password: Option<&Password>,
    ) -> Result<Self, Error> {
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
        let mut tried = state(&document, "");
        if let (true, Some(password)) = (tried.as_ref().is_err_and(is_wrong_password), password) {
            tried = state(&document, password.reveal());
        }
        let state = tried.map_err(|error| refused(&error, password.is_some()))?;
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

/// The key that a password opens. It has to be the user's up to revision 4 of the handler, where the
/// owner's gives no key by itself; from 5 on either does.
fn state(document: &Document, password: &str) -> Result<EncryptionState, lopdf::Error> {
    let password = PasswordAlgorithm::try_from(document)?.sanitize_password(password)?;
    document.authenticate_raw_user_password(&password).or_else(|error| {
        let revision = document.get_encrypted()?.get(b"R")?.as_i64()?;
        if revision < 5 { Err(error) } else { document.authenticate_raw_owner_password(&password) }
    })?;
    EncryptionState::decode(document, password)
}

fn is_wrong_password(error: &lopdf::Error) -> bool {
    use lopdf::encryption::DecryptionError::IncorrectPassword;
    matches!(error, lopdf::Error::InvalidPassword | lopdf::Error::Decryption(IncorrectPassword))
}

fn refused(error: &lopdf::Error, is_given: bool) -> Error {
    match (is_wrong_password(error), is_given) {
        (true, false) => Error::malformed("the PDF is encrypted and needs a password to open")
            .with_hint("give it as option `password` (`fxsrv convert --password-file FILE`)"),
        (true, true) => Error::malformed("the PDF is encrypted and the password does not open it")
            .with_hint("the password is the one that readers ask for, in the same letters"),
        _ => {
            Error::malformed(format!("the PDF is encrypted in a way that cannot be read: {error}"))
                .with_hint("save it without encryption")
        }
    }
}
