//! `fxsrv certs`.

use std::path::PathBuf;

use super::fail::Fail;
use super::local::LOCAL_NAMES;
use super::term;
use crate::tls::certs::{CertDir, CertInfo, CertKind, Renewal};

/// From here on a new set is worth a thought.
pub(super) const WARN_DAYS: i64 = 30;

/// Make and show certificates
///
/// A set is a CA of its own, a certificate for servers and one for masters towards workers, all in
/// one directory: ca, server and client, each as .pem and .key. Clients need ca.pem and nothing else.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Init(InitArgs),
    Renew(RenewArgs),
    Show(ShowArgs),
}

/// Make a new set; nothing is ever overwritten
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  For this machine:
      fxsrv certs init --dir certs

  For a server that clients reach as files.example.org or 192.0.2.7:
      fxsrv certs init --dir certs --name files.example.org --name 192.0.2.7")]
struct InitArgs {
    /// Where the files go; it is made where it is missing
    #[arg(long, env = "FXSRV_CERTS", value_name = "DIR")]
    dir: PathBuf,

    /// A DNS name or IP address of the server; repeat it for more [default: localhost, 127.0.0.1,
    /// ::1 and this machine's name]
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,

    /// A name in the masters' certificate, for workers that let in masters by --client-name
    #[arg(long = "client-name", value_name = "NAME")]
    client_names: Vec<String>,
}

/// Make new certificates for servers and masters with the CA that is there
///
/// They take the place of the old ones, with new keys and the names that those had. Whoever trusts
/// ca.pem trusts them. Servers read them when they start, and on SIGHUP.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Example:
  Every night, on the machine that has ca.key; nothing happens while 30 days are left:
      fxsrv certs renew --dir certs --within 30 && systemctl reload fxsrv-master")]
struct RenewArgs {
    /// Where the files are
    #[arg(long, env = "FXSRV_CERTS", value_name = "DIR")]
    dir: PathBuf,

    /// Only certificates with fewer days left
    #[arg(long, value_name = "DAYS")]
    within: Option<u32>,

    /// A DNS name or IP address of the server, instead of those that it has; repeat it for more
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,

    /// A name in the masters' certificate, instead of those that it has
    #[arg(long = "client-name", value_name = "NAME")]
    client_names: Vec<String>,
}

/// Show a set: what each certificate is for, and when it ends
#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// Where the files are
    #[arg(long, env = "FXSRV_CERTS", value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn run(args: Args) -> Result<(), Fail> {
    match args.command {
        Command::Init(args) => init(args),
        Command::Renew(args) => renew(args),
        Command::Show(args) => show(&CertDir::open(args.dir)),
    }
}

fn init(args: InitArgs) -> Result<(), Fail> {
    let names = if args.names.is_empty() { default_names() } else { args.names };
    let certs = CertDir::init_named(args.dir, &names, &args.client_names)?;
    show(&certs)?;
    term::note(&format!(
        "give {} to clients; keep the .key files where they are",
        certs.path().join("ca.pem").display()
    ));
    Ok(())
}

fn renew(args: RenewArgs) -> Result<(), Fail> {
    let given = |names: Vec<String>| Some(names).filter(|names| !names.is_empty());
    let certs = CertDir::open(args.dir);
    let renewed = certs.renew(&Renewal {
        within_days: args.within.map(i64::from),
        server_names: given(args.names),
        client_names: given(args.client_names),
    })?;
    show(&certs)?;
    term::note(&match (renewed.is_empty(), args.within) {
        (true, Some(days)) => format!("nothing ends within {days} days"),
        (true, None) => "there is nothing to renew".to_owned(),
        (false, _) => format!(
            "renewed {}; servers read them when they start, and on SIGHUP",
            renewed.join(" and ")
        ),
    });
    Ok(())
}

fn show(certs: &CertDir) -> Result<(), Fail> {
    let infos = certs.describe()?;
    table(&infos).iter().try_for_each(|line| term::out(line))?;
    for info in infos {
        if info.days_left < 0 {
            term::warn(&format!("{} is over since {}", info.file, info.not_after));
        } else if info.days_left < WARN_DAYS {
            term::warn(&format!("{} ends in {} days", info.file, info.days_left));
        }
    }
    Ok(())
}

/// Names that a certificate of this machine has.
pub(super) fn default_names() -> Vec<String> {
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let own = own.trim().to_owned();
    let is_name = |name: &String| {
        let chars = |char: char| char.is_ascii_alphanumeric() || "-.".contains(char);
        !name.is_empty() && name.chars().all(chars) && !name.starts_with('-')
    };
    with_missing(LOCAL_NAMES.map(str::to_owned).to_vec(), Some(own).filter(is_name))
}

/// `names`, and `extra` where it is not among them.
pub(super) fn with_missing(mut names: Vec<String>, extra: Option<String>) -> Vec<String> {
    names.extend(extra.filter(|extra| !names.contains(extra)));
    names
}

/// Columns as wide as what is in them.
fn table(infos: &[CertInfo]) -> Vec<String> {
    let mut rows =
        vec![["file", "kind", "subject", "names", "not after", "days left"].map(str::to_owned)];
    rows.extend(infos.iter().map(|info| {
        [
            info.file.to_owned(),
            kind(info.kind).to_owned(),
            info.subject.clone(),
            if info.names.is_empty() { "-".to_owned() } else { info.names.join(",") },
            info.not_after.clone(),
            info.days_left.to_string(),
        ]
    }));
    term::columns(&rows)
}

fn kind(kind: CertKind) -> &'static str {
    match kind {
        CertKind::Ca => "CA",
        CertKind::Server => "server",
        CertKind::Client => "client",
        CertKind::Other => "other",
    }
}
