//! The PDF around the page contents: objects, page tree, compression, and what it may cost.
//!
//! printpdf makes the frame of the document (catalog, page tree, document information); lopdf holds
//! the objects and writes them. The numbers behind this split are in `docs/decisions.md`.

use libdeflater::{CompressionLvl, Compressor};
use lopdf::{Dictionary, Document, Object, ObjectId, Stream, StringFormat, dictionary};
use xxhash_rust::xxh3::Xxh3;

use super::frame::Frame;
use super::notice;
use crate::{
    convert::{Error, ErrorKind},
    limits::ConvertLimits,
};

/// The fastest level that compresses. Level 6 makes text 3 % smaller and takes three times as long.
const DEFLATE_LEVEL: i32 = 1;
const PRODUCER: &str = concat!("fxsrv ", env!("CARGO_PKG_VERSION"));

/// What a page costs beside its compressed content: its own dictionary (about 60 bytes), that of
/// its stream (about 60), two lines of the cross-reference table (20 each) and a reference in the
/// page tree (about 10), rounded up.
const PAGE_OVERHEAD_BYTES: u64 = 192;

/// A PDF that is being written.
pub(super) struct PdfFile {
    document: Document,
    pages_id: ObjectId,
    kids: Vec<Object>,
    media_box: Vec<Object>,
    compressor: Compressor,
    /// Where a stream is compressed before its size is known. Reused.
    scratch: Vec<u8>,
    /// Over all compressed streams, for the file id.
    hash: Xxh3,
    /// Bytes that the file will have at least.
    bytes: u64,
    info_id: ObjectId,
    limits: ConvertLimits,
}

impl PdfFile {
    pub(super) fn new(frame: &Frame, limits: &ConvertLimits) -> Result<Self, Error> {
        let (document, pages_id, info_id) = document_frame()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "the document has no page tree"))?;
        let level = CompressionLvl::new(DEFLATE_LEVEL)
            .map_err(|_| Error::new(ErrorKind::Internal, "no such level of compression"))?;
        Ok(Self {
            document,
            pages_id,
            kids: Vec::new(),
            media_box: vec![0.into(), 0.into(), frame.page_width.into(), frame.page_height.into()],
            compressor: Compressor::new(level),
            scratch: Vec::new(),
            hash: Xxh3::new(),
            bytes: 0,
            info_id,
            limits: *limits,
        })
    }

    /// Adds a page that shows `content`.
    ///
    /// # Errors
    ///
    /// `LimitExceeded` where the document would have too many pages or bytes.
    pub(super) fn add_page(&mut self, content: &[u8]) -> Result<(), Error> {
        let pages_max = u64::from(self.limits.pages_max);
        let pages = self.kids.len() as u64 + 1;
        if pages > pages_max {
            return Err(Error::limit("pages of the PDF", format!("at least {pages}"), pages_max)
                .with_hint("send the text in parts, or use a smaller font-size"));
        }
        let contents = self.add_stream(Dictionary::new(), content)?;
        self.charge(PAGE_OVERHEAD_BYTES)?;
        let page = self.document.add_object(dictionary! {
            "Type" => "Page",
            "Parent" => self.pages_id,
            "Contents" => contents,
        });
        self.kids.push(page.into());
        Ok(())
    }

    pub(super) fn page_count(&self) -> usize {
        self.kids.len()
    }

    /// Says something of the text in the document information: a line of ASCII without parentheses.
    pub(super) fn set_notice(&mut self, notice: String) {
        if let Ok(info) = self.document.get_dictionary_mut(self.info_id) {
            info.set(notice::KEY, Object::string_literal(notice));
        }
    }

    /// Adds an object without a stream.
    pub(super) fn add(&mut self, object: impl Into<Object>) -> ObjectId {
        self.document.add_object(object)
    }

    /// Adds a stream, compressed.
    ///
    /// # Errors
    ///
    /// `LimitExceeded` where the document would have too many bytes.
    pub(super) fn add_stream(
        &mut self,
        mut dictionary: Dictionary,
        content: &[u8],
    ) -> Result<ObjectId, Error> {
        let bound = self.compressor.zlib_compress_bound(content.len());
        if self.scratch.len() < bound {
            self.scratch.resize(bound, 0);
        }
        let size = self
            .compressor
            .zlib_compress(content, &mut self.scratch)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("deflate: {error}")))?;
        let compressed = &self.scratch[..size];
        self.hash.update(compressed);
        dictionary.set("Filter", "FlateDecode");
        let stream = Stream::new(dictionary, compressed.to_vec()).with_compression(false);
        self.charge(size as u64)?;
        Ok(self.document.add_object(stream))
    }

    fn charge(&mut self, bytes: u64) -> Result<(), Error> {
        self.bytes += bytes;
        self.check_size(self.bytes, "at least ")
    }

    fn check_size(&self, bytes: u64, qualifier: &str) -> Result<(), Error> {
        let max = self.limits.output_bytes_max;
        if bytes <= max {
            return Ok(());
        }
        Err(Error::limit("bytes of the PDF", format!("{qualifier}{bytes}"), max)
            .with_hint("send the text in parts"))
    }

    /// Puts the page tree in place and writes the file.
    ///
    /// # Errors
    ///
    /// `LimitExceeded` where the file has too many bytes.
    pub(super) fn finish(mut self, fonts: Dictionary) -> Result<Vec<u8>, Error> {
        let count = i64::try_from(self.kids.len()).unwrap_or(i64::MAX);
        let id = self.hash.digest128().to_be_bytes().to_vec();
        let id = Object::String(id, StringFormat::Hexadecimal);
        self.document.trailer.set("ID", vec![id.clone(), id]);
        // Size and resources are the same for all pages, which inherit them.
        let pages = dictionary! {
            "Type" => "Pages",
            "Count" => count,
            "Kids" => self.kids,
            "MediaBox" => self.media_box,
            "Resources" => dictionary! { "Font" => fonts },
        };
        self.document.objects.insert(self.pages_id, pages.into());

        let mut output = Vec::new();
        let expected = usize::try_from(self.bytes).unwrap_or(0);
        if output.try_reserve(expected + expected / 16 + 4096).is_err() {
            return Err(Error::limit("bytes of the PDF", expected, "the memory there is"));
        }
        self.document.save_to(&mut output).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("writing the PDF: {error}"))
        })?;
        let limits = self.limits;
        let written = output.len() as u64;
        if written > limits.output_bytes_max {
            return Err(Error::limit("bytes of the PDF", written, limits.output_bytes_max)
                .with_hint("send the text in parts"));
        }
        Ok(output)
    }
}

/// An empty document by printpdf, the root of its page tree, and its information.
///
/// What would differ from run to run is taken out: printpdf writes dates of 1970 and a random id.
fn document_frame() -> Option<(Document, ObjectId, ObjectId)> {
    let source = printpdf::PdfDocument::new("");
    let mut document = source.to_lopdf_document(&printpdf::PdfSaveOptions::default(), &mut vec![]);
    // The edition that is ISO 32000-1. printpdf says 1.3, which newer checkers frown upon.
    "1.7".clone_into(&mut document.version);
    let catalog_id = document.trailer.get(b"Root").ok()?.as_reference().ok()?;
    let info_id = document.trailer.get(b"Info").ok()?.as_reference().ok()?;
    let pages_id =
        document.get_dictionary(catalog_id).ok()?.get(b"Pages").ok()?.as_reference().ok()?;
    // Empty resource dictionaries, which only pages of printpdf's own would use.
    document.objects.retain(|id, _| [catalog_id, info_id, pages_id].contains(id));
    let info = dictionary! { "Producer" => Object::string_literal(PRODUCER) };
    document.objects.insert(info_id, info.into());
    Some((document, pages_id, info_id))
}
