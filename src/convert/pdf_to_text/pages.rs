//! The page tree, with what pages inherit.

use std::collections::HashSet;

use lopdf::{Dictionary, Object};

use super::file::File;
use super::matrix::Matrix;
use crate::convert::Error;

/// A page that is ready to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<'f> {
    pub(super) dict: &'f Dictionary,
    pub(super) resources: Option<&'f Dictionary>,
    /// From the page's space to the upright page: origin at the lower left, /Rotate applied.
    pub(super) upright: Matrix,
    pub(super) width: f64,
    pub(super) height: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Inherited<'f> {
    resources: Option<&'f Dictionary>,
    media_box: Option<&'f [Object]>,
    rotate: i64,
}

/// All pages in order. A file whose tree is broken gives the pages that are there, by number.
///
/// # Errors
///
/// There are more pages than the limit.
pub(super) fn pages<'f>(file: &'f File<'_>) -> Result<Vec<Page<'f>>, Error> {
    let root = file.trailer.get(b"Root").ok().and_then(|root| file.resolve(root).as_dict().ok());
    let mut walk = Walk { file, seen: HashSet::new(), pages: Vec::new() };
    if let Some(tree) = root.and_then(|root| root.get(b"Pages").ok()) {
        walk.visit(tree, Inherited::default(), 0)?;
    }
    if walk.pages.is_empty() {
        for id in 0..file.object_count() {
            let dict = file.node(id).and_then(|node| node.dict());
            if let Some(dict) = dict.filter(|dict| dict.has_type(b"Page")) {
                walk.page(dict, Inherited::default())?;
            }
        }
    }
    Ok(walk.pages)
}

struct Walk<'f, 'a> {
    file: &'f File<'a>,
    seen: HashSet<u32>,
    pages: Vec<Page<'f>>,
}

impl<'f> Walk<'f, '_> {
    fn visit(&mut self, object: &'f Object, above: Inherited<'f>, depth: u32) -> Result<(), Error> {
        if let Object::Reference((id, _)) = object
            && !self.seen.insert(*id)
            && self.file.resolve(object).as_dict().is_ok_and(|dict| dict.has(b"Kids"))
        {
            // A tree that contains itself. The same page twice is fine.
            return Ok(());
        }
        let Ok(dict) = self.file.resolve(object).as_dict() else { return Ok(()) };
        let kids = self.file.entry(dict, b"Kids").and_then(|kids| kids.as_array().ok());
        match kids {
            Some(kids) if !dict.has_type(b"Page") => {
                let max = self.file.limits.nesting_max;
                if depth >= max {
                    return Err(Error::limit("nesting of the page tree", depth + 1, max));
                }
                let here = self.inherit(dict, above);
                for kid in kids {
                    self.visit(kid, here, depth + 1)?;
                }
                Ok(())
            }
            _ if dict.has_type(b"Pages") => Ok(()),
            _ => self.page(dict, above),
        }
    }

    fn inherit(&self, dict: &'f Dictionary, above: Inherited<'f>) -> Inherited<'f> {
        let media_box = self.file.entry(dict, b"MediaBox").and_then(|array| array.as_array().ok());
        Inherited {
            resources: self.file.dict(dict, b"Resources").or(above.resources),
            media_box: media_box.map(Vec::as_slice).or(above.media_box),
            rotate: self.file.integer(dict, b"Rotate").unwrap_or(above.rotate),
        }
    }

    fn page(&mut self, dict: &'f Dictionary, above: Inherited<'f>) -> Result<(), Error> {
        let max = self.file.limits.pages_max;
        if self.pages.len() >= max as usize {
            return Err(Error::limit("pages", format!("more than {max}"), max));
        }
        let here = self.inherit(dict, above);
        let corner = |at: usize| {
            let value = here.media_box.and_then(|corners| corners.get(at));
            value.and_then(|value| super::file::number(self.file.resolve(value)))
        };
        let corners = (|| Some([corner(0)?, corner(1)?, corner(2)?, corner(3)?]))();
        // US letter, as readers take a page without a box.
        let [x0, y0, x1, y1] = corners.unwrap_or([0.0, 0.0, 612.0, 792.0]);
        let (left, bottom) = (x0.min(x1), y0.min(y1));
        let (wide, high) = ((x1 - x0).abs(), (y1 - y0).abs());
        let (wide, high) = if wide < 1.0 || high < 1.0 { (612.0, 792.0) } else { (wide, high) };
        let turn = match here.rotate.rem_euclid(360) {
            90 => Matrix { a: 0.0, b: -1.0, c: 1.0, d: 0.0, e: 0.0, f: wide },
            180 => Matrix { a: -1.0, b: 0.0, c: 0.0, d: -1.0, e: wide, f: high },
            270 => Matrix { a: 0.0, b: 1.0, c: -1.0, d: 0.0, e: high, f: 0.0 },
            _ => Matrix::IDENTITY,
        };
        let turned = here.rotate.rem_euclid(180) == 90;
        let (width, height) = if turned { (high, wide) } else { (wide, high) };
        let upright = Matrix::translation(-left, -bottom).then(&turn);
        self.pages.push(Page { dict, resources: here.resources, upright, width, height });
        Ok(())
    }
}
