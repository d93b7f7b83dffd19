//! The file as numbered objects, parsed when they are asked for.
//!
//! lopdf's own loader copies every object that the cross-reference table names, so a small table
//! whose million entries point at one large stream costs a million copies. Here an object is parsed
//! once, when it is needed, and a stream stays where it is in the input. The object model and the
//! security handlers are lopdf's.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use lopdf::{Dictionary, Object};

use super::filters::{self, Filter, TooLong};
use super::lexer::{Lexer, Token, find, is_white};
use super::security::Security;
use super::{parse, repair, xref};
use crate::convert::{Error, Password};
use crate::limits::ConvertLimits;

/// Where the cross-reference table says that an object is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Place {
    #[default]
    Nowhere,
    Offset(usize),
    /// In the object stream of that number.
    Inside(u32),
}

/// A parsed object; for a stream the dictionary, and where its bytes lie in the file.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: (u32, u16),
    pub(super) object: Object,
    pub(super) data: Option<Range<usize>>,
}

impl Node {
    pub(super) fn dict(&self) -> Option<&Dictionary> {
        self.object.as_dict().ok()
    }
}

#[derive(Debug, Default)]
struct Slot {
    place: Place,
    node: OnceCell<Option<Box<Node>>>,
}

/// An object stream after decoding: numbers and offsets of its objects.
#[derive(Debug)]
struct Container {
    data: Vec<u8>,
    index: HashMap<u32, usize>,
}

/// A PDF file.
#[derive(Debug)]
pub(super) struct File<'a> {
    pub(super) data: &'a [u8],
    pub(super) limits: &'a ConvertLimits,
    pub(super) trailer: Dictionary,
    slots: Vec<Slot>,
    security: Option<Security>,
    /// What a scan of the whole file found, made when the table turns out to be wrong.
    scanned: OnceCell<HashMap<u32, usize>>,
    containers: RefCell<HashMap<u32, Option<Rc<Container>>>>,
    depth: Cell<u32>,
    /// Bytes that parsing may still look at, see [`parse_budget`].
    parse_left: Cell<u64>,
    decoded_left: Cell<u64>,
}

/// Every byte of a sound file is parsed about once. Overlapping objects, of which each runs to the
/// end of the file, would make that quadratic; 32 times the file and 64 MiB is far above what real
/// files need, with their object streams, and under a second of work for 10 MB.
fn parse_budget(file_bytes: usize) -> u64 {
    (file_bytes as u64).saturating_mul(32).saturating_add(64 << 20)
}

impl<'a> File<'a> {
    /// Reads the cross-reference table, or finds the objects by a scan where that fails.
    /// `password` is for a file that the empty one does not open.
    pub(super) fn open(
        input: &'a [u8],
        password: Option<&Password>,
        limits: &'a ConvertLimits,
    ) -> Result<Self, Error> {
        let header = find(&input[..input.len().min(64 * 1024)], b"%PDF-", 0).unwrap_or(0);
        // Trailing NULs are padding of some writers; megabytes of them need not be searched.
        let end = input.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let data = input.get(header..end).unwrap_or_default();
        let mut file = Self {
            data,
            limits,
            trailer: Dictionary::new(),
            slots: Vec::new(),
            security: None,
            scanned: OnceCell::new(),
            containers: RefCell::default(),
            depth: Cell::new(0),
            parse_left: Cell::new(parse_budget(data.len())),
            decoded_left: Cell::new(limits.streams_total_bytes_max),
        };
        if xref::read(&mut file)?.is_none() || !file.has_pages() {
            file.rebuild()?;
        }
        file.unlock(password)?;
        if file.security.is_some() && !file.has_pages() {
            // An encrypted file keeps its catalog in an object stream that only opens now.
            repair::add_contained(&mut file)?;
        }
        Ok(file)
    }

    /// Throws the table away and takes what a scan finds.
    pub(super) fn rebuild(&mut self) -> Result<(), Error> {
        self.slots.clear();
        self.containers.borrow_mut().clear();
        repair::rebuild(self)
    }

    fn unlock(&mut self, password: Option<&Password>) -> Result<(), Error> {
        let Some(encrypt) = self.trailer.get(b"Encrypt").ok() else { return Ok(()) };
        let Ok(encrypt) = self.resolve(encrypt).as_dict() else { return Ok(()) };
        let direct = encrypt.iter().map(|(key, value)| (key.clone(), self.resolve(value).clone()));
        let id = self.trailer.get(b"ID").ok().map(|id| self.resolve(id).clone());
        self.security = Some(Security::open(direct.collect(), id, password)?);
        // What was parsed before the key was known is parsed again.
        for slot in &mut self.slots {
            slot.node = OnceCell::new();
        }
        self.containers.borrow_mut().clear();
        Ok(())
    }

    fn has_pages(&self) -> bool {
        let encrypted = self.trailer.get(b"Encrypt").is_ok() && self.security.is_none();
        let root =
            self.trailer.get(b"Root").ok().and_then(|root| self.resolve(root).as_dict().ok());
        let pages = root.and_then(|root| self.dict(root, b"Pages"));
        pages.is_some_and(|pages| pages.has(b"Kids")) || (encrypted && self.trailer.has(b"Root"))
    }

    /// Says where an object is, unless that is known already (tables are read newest first).
    pub(super) fn place(&mut self, id: u32, place: Place) -> Result<(), Error> {
        let at = id as usize;
        if id >= self.limits.objects_max {
            return Err(Error::limit("object number", id, self.limits.objects_max));
        }
        if at >= self.slots.len() {
            self.slots.resize_with(at + 1, Slot::default);
        }
        if self.slots[at].place == Place::Nowhere {
            self.slots[at].place = place;
        }
        Ok(())
    }

    pub(super) fn knows(&self, id: u32) -> bool {
        self.slots.get(id as usize).is_some_and(|slot| slot.place != Place::Nowhere)
    }

    pub(super) fn object_count(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// The object of that number, or `None` where there is none.
    pub(super) fn node(&self, id: u32) -> Option<&Node> {
        let slot = self.slots.get(id as usize)?;
        if let Some(node) = slot.node.get() {
            return node.as_deref();
        }
        // Not remembered as missing: a scan may still find its place.
        if slot.place == Place::Nowhere {
            return None;
        }
        // An object may need another to be parsed (its /Length, its container), and cycles exist.
        if self.depth.get() > self.limits.nesting_max {
            return None;
        }
        self.depth.set(self.depth.get() + 1);
        let node = self.load(id, slot.place);
        self.depth.set(self.depth.get() - 1);
        slot.node.get_or_init(|| node.map(Box::new)).as_deref()
    }

    fn load(&self, id: u32, place: Place) -> Option<Node> {
        match place {
            Place::Nowhere => None,
            Place::Inside(container) => self.load_contained(id, container),
            Place::Offset(offset) => {
                self.parse_at(offset).filter(|node| node.id.0 == id).or_else(|| {
                    let scanned = self.scanned.get_or_init(|| repair::scan(self.data));
                    self.parse_at(*scanned.get(&id)?).filter(|node| node.id.0 == id)
                })
            }
        }
    }

    /// Parses `id generation obj ...` at `offset`.
    pub(super) fn parse_at(&self, offset: usize) -> Option<Node> {
        self.parse_left.get().checked_sub(1).filter(|_| offset < self.data.len())?;
        let mut lexer = Lexer::new(self.data, offset);
        let node = self.parse_indirect(&mut lexer);
        let spent = (lexer.pos - offset) as u64 + 1;
        self.parse_left.set(self.parse_left.get().saturating_sub(spent));
        node
    }

    fn parse_indirect(&self, lexer: &mut Lexer<'a>) -> Option<Node> {
        let mut unused = Vec::new();
        let Token::Int(id) = lexer.next(&mut unused) else { return None };
        let Token::Int(generation) = lexer.next(&mut unused) else { return None };
        lexer.skip_white();
        // `obj` may stand against what follows it.
        if !lexer.data[lexer.pos..].starts_with(b"obj") {
            return None;
        }
        lexer.pos += 3;
        let id = (u32::try_from(id).ok()?, u16::try_from(generation).ok()?);
        let mut object = parse::object(lexer, self.limits.nesting_max)?;
        lexer.skip_white();
        let is_stream = lexer.data[lexer.pos..].starts_with(b"stream") && object.as_dict().is_ok();
        let data = is_stream.then(|| self.stream_range(lexer, &object));
        if let Some(security) = &self.security {
            security.decrypt_strings(id, &mut object);
        }
        Some(Node { id, object, data })
    }

    /// The bytes of a stream: `/Length` of them where `endstream` follows, else up to the next
    /// `endstream`, else up to the end.
    fn stream_range(&self, lexer: &mut Lexer<'a>, object: &Object) -> Range<usize> {
        let mut start = lexer.pos + b"stream".len();
        while matches!(self.data.get(start), Some(b' ' | b'\t')) {
            start += 1;
        }
        if self.data.get(start) == Some(&b'\r') {
            start += 1;
        }
        if self.data.get(start) == Some(&b'\n') {
            start += 1;
        }
        start = start.min(self.data.len());
        let length = object.as_dict().ok().and_then(|dict| self.integer(dict, b"Length"));
        let stated = length.and_then(|length| start.checked_add(usize::try_from(length).ok()?));
        if let Some(end) = stated.filter(|&end| end <= self.data.len()) {
            let tail = &self.data[end..self.data.len().min(end + 32)];
            let word = tail.iter().position(|&byte| !is_white(byte)).unwrap_or(0);
            if tail[word..].starts_with(b"endstream") || tail[word..].starts_with(b"endobj") {
                return start..end;
            }
        }
        let end = find(self.data, b"endstream", start)
            .or_else(|| find(self.data, b"endobj", start))
            .unwrap_or(self.data.len());
        lexer.pos = end;
        start..end
    }

    fn load_contained(&self, id: u32, container_id: u32) -> Option<Node> {
        let container = self.container(container_id)?;
        let offset = *container.index.get(&id)?;
        let left = self.parse_left.get();
        let mut lexer = Lexer::new(&container.data, offset);
        let object =
            if left > 0 { parse::object(&mut lexer, self.limits.nesting_max) } else { None };
        self.parse_left.set(left.saturating_sub(lexer.pos.saturating_sub(offset) as u64 + 1));
        Some(Node { id: (id, 0), object: object?, data: None })
    }

    /// The numbers of the objects inside the object stream `id`.
    pub(super) fn contained(&self, id: u32) -> Vec<u32> {
        self.container(id).map(|all| all.index.keys().copied().collect()).unwrap_or_default()
    }

    fn container(&self, id: u32) -> Option<Rc<Container>> {
        if let Some(known) = self.containers.borrow().get(&id) {
            return known.clone();
        }
        let container = self.node(id).and_then(|node| self.read_container(node)).map(Rc::new);
        self.containers.borrow_mut().insert(id, container.clone());
        container
    }

    fn read_container(&self, node: &Node) -> Option<Container> {
        let dict = node.dict()?;
        let count = usize::try_from(self.integer(dict, b"N")?).ok()?;
        let first = usize::try_from(self.integer(dict, b"First")?).ok()?;
        let data = self.decode(node).ok()??;
        let (mut index, mut lexer) = (HashMap::new(), Lexer::new(&data, 0));
        let mut unused = Vec::new();
        // A pair of numbers takes four bytes, so the count needs no trust.
        for _ in 0..count.min(data.len() / 2) {
            let Token::Int(id) = lexer.next(&mut unused) else { break };
            let Token::Int(offset) = lexer.next(&mut unused) else { break };
            if let (Ok(id), Ok(offset)) = (u32::try_from(id), usize::try_from(offset)) {
                index.insert(id, first.saturating_add(offset));
            }
        }
        Some(Container { data, index })
    }

    /// Follows references; a chain that does not end is `Null`.
    pub(super) fn resolve<'b>(&'b self, object: &'b Object) -> &'b Object {
        let mut object = object;
        for _ in 0..16 {
            let Object::Reference((id, _)) = object else { return object };
            match self.node(*id) {
                Some(node) => object = &node.object,
                None => return &Object::Null,
            }
        }
        &Object::Null
    }

    /// The entry `key` of `dict`, if it is there and not null.
    pub(super) fn entry<'b>(&'b self, dict: &'b Dictionary, key: &[u8]) -> Option<&'b Object> {
        let object = self.resolve(dict.get(key).ok()?);
        (!matches!(object, Object::Null)).then_some(object)
    }

    pub(super) fn dict<'b>(&'b self, dict: &'b Dictionary, key: &[u8]) -> Option<&'b Dictionary> {
        self.entry(dict, key)?.as_dict().ok()
    }

    pub(super) fn name<'b>(&'b self, dict: &'b Dictionary, key: &[u8]) -> Option<&'b [u8]> {
        self.entry(dict, key)?.as_name().ok()
    }

    pub(super) fn integer(&self, dict: &Dictionary, key: &[u8]) -> Option<i64> {
        number(self.entry(dict, key)?).map(|value| value as i64)
    }

    /// The numbers of an array, references followed; what is no number counts as 0.
    pub(super) fn numbers(&self, dict: &Dictionary, key: &[u8]) -> Option<Vec<f64>> {
        let array = self.entry(dict, key)?.as_array().ok()?;
        Some(array.iter().map(|item| number(self.resolve(item)).unwrap_or(0.0)).collect())
    }

    /// The stream that `object` refers to.
    pub(super) fn stream<'b>(&'b self, object: &Object) -> Option<&'b Node> {
        let mut id = object.as_reference().ok()?.0;
        for _ in 0..16 {
            let node = self.node(id)?;
            match node.object {
                Object::Reference((next, _)) => id = next,
                _ => return node.data.is_some().then_some(node),
            }
        }
        None
    }

    /// The decoded bytes of a stream; `None` where it holds no bytes of use (a picture).
    ///
    /// # Errors
    ///
    /// The stream, or all streams together, pass a limit.
    pub(super) fn decode(&self, node: &Node) -> Result<Option<Vec<u8>>, Error> {
        let (Some(dict), Some(range)) = (node.dict(), node.data.clone()) else { return Ok(None) };
        let filters = filters::chain(dict, |object| self.resolve(object));
        let raw = &self.data[range];
        let decrypted;
        let mut input = raw;
        if let Some(security) = &self.security {
            decrypted = security.decrypt_stream(node.id, dict, raw);
            input = &decrypted;
        }
        self.run_filters(&filters, input, node.id.0)
    }

    fn run_filters(
        &self,
        filters: &[Filter],
        raw: &[u8],
        id: u32,
    ) -> Result<Option<Vec<u8>>, Error> {
        let left = self.decoded_left.get();
        let max = self.limits.stream_bytes_max.min(left);
        let cap = usize::try_from(max).unwrap_or(usize::MAX);
        let too_long = |_: TooLong| {
            let (what, max) = if left < self.limits.stream_bytes_max {
                ("bytes of all streams".to_owned(), self.limits.streams_total_bytes_max)
            } else {
                (format!("bytes of stream {id}"), self.limits.stream_bytes_max)
            };
            Error::limit(&what, format!("more than {max}"), max)
        };
        let mut data = None;
        for filter in filters {
            let input = data.as_deref().unwrap_or(raw);
            match filters::apply(filter, input, cap).map_err(too_long)? {
                Some(out) => data = Some(out),
                None => return Ok(None),
            }
        }
        let data = match data {
            Some(data) => data,
            None if raw.len() > cap => return Err(too_long(TooLong)),
            None => raw.to_vec(),
        };
        self.decoded_left.set(left.saturating_sub(data.len() as u64));
        Ok(Some(data))
    }
}

/// An integer or a real as a number.
pub(super) fn number(object: &Object) -> Option<f64> {
    match object {
        Object::Integer(value) => Some(*value as f64),
        Object::Real(value) => Some(f64::from(*value)),
        _ => None,
    }
}
