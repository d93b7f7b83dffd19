//! The fonts of a file, each read once.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::rc::Rc;

use lopdf::Dictionary;

use super::file::File;
use super::font::Font;
use crate::convert::Error;

/// Fonts by the dictionary that describes them. Dictionaries stay where they are for as long as the
/// file is open, so the address names one, also where it stands in place and has no number.
#[derive(Debug, Default)]
pub(super) struct Fonts<'f> {
    known: HashMap<usize, Rc<Font>>,
    file: PhantomData<&'f Dictionary>,
}

impl<'f> Fonts<'f> {
    pub(super) fn load(
        &mut self,
        file: &'f File<'_>,
        dict: &'f Dictionary,
    ) -> Result<Rc<Font>, Error> {
        let address = std::ptr::from_ref(dict) as usize;
        if let Some(font) = self.known.get(&address) {
            return Ok(Rc::clone(font));
        }
        let font = Rc::new(Font::load(file, dict)?);
        self.known.insert(address, Rc::clone(&font));
        Ok(font)
    }
}
