//! Writes the seeds: small files of every kind, made by the project's own conversions.
//!
//! `cargo run --no-default-features --bin seeds -- DIR` makes DIR/TARGET/NAME for every target; `fuzz/run`
//! does so before it fuzzes.

use std::error::Error;
use std::fs;
use std::path::Path;

use fxsrv::auth::Token;
use fxsrv::convert::{Options, Quality, Target, convert};
use fxsrv::limits::ConvertLimits;
use fxsrv::wire::{Code, Failure, Operation, RequestHeader, RequestOptions, Version};
use image::{DynamicImage, ImageFormat, RgbaImage};
// Where everything is instrumented, what counts the edges has to be there, though nothing is fuzzed.
#[cfg(feature = "fuzzing")]
use libfuzzer_sys as _;

type Seeds = Vec<(String, Vec<u8>)>;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os().nth(1).ok_or("usage: seeds DIR")?;
    let dir = Path::new(&dir);
    let pictures = pictures()?;
    let (texts, pdfs) = documents()?;
    let every: Seeds = [&pictures, &texts, &pdfs].into_iter().flatten().cloned().collect();
    write(dir, "detect", &every)?;
    for (target, extension) in [("png", "png"), ("jpeg", "jpg"), ("webp", "webp")] {
        let own = pictures.iter().filter(|(name, _)| name.ends_with(extension));
        write(dir, target, &with_choices(own))?;
    }
    write(dir, "text_to_pdf", &with_choices(texts.iter()))?;
    write(dir, "pdf_to_text", &with_choices(pdfs.iter()))?;
    write(dir, "request", &requests()?)?;
    write(dir, "reply", &replies())?;
    write(dir, "store_protocol", &store_requests())?;
    write(dir, "numbers", &numbers())?;
    write(dir, "tls_session", &scripts())?;
    write(dir, "config", &configurations())?;
    Ok(())
}

fn write(dir: &Path, target: &str, seeds: &Seeds) -> std::io::Result<()> {
    let dir = dir.join(target);
    fs::create_dir_all(&dir)?;
    seeds.iter().try_for_each(|(name, bytes)| fs::write(dir.join(name), bytes))
}

/// Each file with a few of the choices that its first two bytes make.
fn with_choices<'a>(files: impl Iterator<Item = &'a (String, Vec<u8>)>) -> Seeds {
    let choices = [[0x00, 80], [0x11, 30], [0x82, 0xff], [0xf1, 1]];
    files
        .flat_map(|(name, bytes)| {
            choices.iter().map(move |choice| {
                (
                    format!("{:02x}{:02x}-{name}", choice[0], choice[1]),
                    [&choice[..], bytes].concat(),
                )
            })
        })
        .collect()
}

/// A gradient with transparency in every pixel type of PNG that the encoder has, and in the others.
fn pictures() -> Result<Seeds, Box<dyn Error>> {
    let gradient = RgbaImage::from_fn(33, 17, |x, y| {
        image::Rgba([(x * 7) as u8, (y * 15) as u8, (x * y) as u8, 255 - (x * 5) as u8])
    });
    let whole = DynamicImage::ImageRgba8(gradient);
    let kinds = [
        ("rgba8", whole.clone()),
        ("rgb8", DynamicImage::ImageRgb8(whole.to_rgb8())),
        ("grey8", DynamicImage::ImageLuma8(whole.to_luma8())),
        ("rgb16", DynamicImage::ImageRgb16(whole.to_rgb16())),
        ("greya16", DynamicImage::ImageLumaA16(whole.to_luma_alpha16())),
    ];
    let mut seeds = Seeds::new();
    for (kind, picture) in kinds {
        let mut png = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut png, ImageFormat::Png)?;
        let png = png.into_inner();
        for (target, extension) in [(Target::Jpg, "jpg"), (Target::Webp, "webp")] {
            for quality in [20, 95] {
                let options = Options {
                    quality: Quality::new(quality),
                    lossless: quality > 90,
                    ..Options::default()
                };
                let file = convert(&png, target, &options, &ConvertLimits::default())?;
                seeds.push((format!("{kind}-{quality}.{extension}"), file));
            }
        }
        seeds.push((format!("{kind}.png"), png));
    }
    Ok(seeds)
}

fn documents() -> Result<(Seeds, Seeds), Box<dyn Error>> {
    let texts = [
        (
            "latin.txt",
            "Plain text, wrapped\nover lines.\n\n\tA tab, and a page\x0cbreak.\n".to_owned(),
        ),
        ("scripts.txt", "Grüße, мир, αβγ, שלום עולם 123\u{feff} \u{200f}x\n".repeat(3)),
        ("long.txt", "word".repeat(400)),
    ];
    let mut pdfs = Seeds::new();
    for (name, text) in &texts {
        let pdf =
            convert(text.as_bytes(), Target::Pdf, &Options::default(), &ConvertLimits::default())?;
        pdfs.push((format!("{name}.pdf"), pdf));
    }
    let texts = texts.map(|(name, text)| (name.to_owned(), text.into_bytes()));
    Ok((texts.to_vec(), pdfs))
}

fn requests() -> Result<Seeds, Box<dyn Error>> {
    let token = Token::parse("fuzz")?;
    let options = RequestOptions { name: Some("a.png".to_owned()), ..RequestOptions::default() };
    let block = options.encode().map_err(|failure| failure.message)?;
    let operation = Operation::Convert(Target::Jpg);
    let request = |version, block: &[u8]| {
        let header =
            RequestHeader::new(version, &token, [7; 16], "a.png", 5, operation, block.len());
        [&header.to_bytes()[..], block].concat()
    };
    Ok(vec![
        ("v1.0".to_owned(), request(Version::V1_0, b"")),
        ("v1.1".to_owned(), request(Version::V1_1, &block)),
        ("v1.1-quality".to_owned(), request(Version::V1_1, b"quality=80\nmetadata=keep\n")),
    ])
}

fn replies() -> Seeds {
    let failure = Failure::new(Code::Busy, "no room").with_hint("try again");
    vec![
        ("v1.0".to_owned(), failure.reply_v1_0()),
        ("v1.1".to_owned(), failure.reply_v1_1(fxsrv::wire::ChecksumKind::None)),
    ]
}

fn store_requests() -> Seeds {
    let wires: [(&str, &[u8]); 4] = [
        ("put", b"\x05\x08file.txt\0\0\0\x05hello"),
        ("get", b"\x01\x28file.txt"),
        ("change", b"\x02\x41a\x02bc"),
        ("summary-help", b"\x07\x61a\x60\x80"),
    ];
    wires.map(|(name, wire)| (name.to_owned(), wire.to_vec())).to_vec()
}

fn numbers() -> Seeds {
    let texts: [(&str, &[u8]); 3] = [
        ("plain", b"\x03 1\n2.5\n-3e10\n"),
        ("odd", b"\x01 1_000\r\n\n.5\n+7.\n1e308\n1e308\n"),
        ("wrong", b"\x05 1\nnan\ninf\nx\n"),
    ];
    texts.map(|(name, text)| (name.to_owned(), text.to_vec())).to_vec()
}

/// Each action is three bytes: what and whose, which, how much.
fn scripts() -> Seeds {
    const DELIVER: [[u8; 3]; 2] = [[0, 255, 7], [1, 255, 7]];
    let shaken: Vec<u8> = [DELIVER, DELIVER, DELIVER, DELIVER].concat().concat();
    let sent = [&shaken[..], &[6, 3, 200, 1, 255, 7, 7, 2, 100, 0, 255, 7]].concat();
    let broken = [&sent[..], &[6, 3, 200, 9, 10, 1, 1, 255, 7]].concat();
    let drip: Vec<u8> = [[0, 16, 1], [1, 16, 1]].concat().repeat(60);
    vec![
        ("handshake".to_owned(), shaken),
        ("data".to_owned(), sent),
        ("tampered".to_owned(), broken),
        ("drip".to_owned(), drip),
    ]
}

fn configurations() -> Seeds {
    let text = include_bytes!("../../docs/fxsrv.toml");
    vec![("all".to_owned(), text.to_vec()), ("one".to_owned(), b"[master]\nthreads = 2\n".to_vec())]
}
