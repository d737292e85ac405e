//! The control plane's process: configuration, signals, and the commands.

#![forbid(unsafe_code)]

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand};
use futures_util::future::join_all;
use sd_notify::NotifyState;
use tidegate_controlplane::api::access_key::RootKey;
use tidegate_controlplane::api::serve::{Listener, bind_unix, serve};
use tidegate_controlplane::api::{self, Api};
use tidegate_controlplane::config::{Config, CustomerLogConfig};
use tidegate_controlplane::confine;
use tidegate_controlplane::control::{Control, key_path, open_directory, store_path};
use tidegate_controlplane::customer_log::file::LogFile;
use tidegate_controlplane::customer_log::otlp::Target;
use tidegate_controlplane::iam::admin::{Admin, Order};
use tidegate_controlplane::iam::{admin, erase, socket};
use tidegate_controlplane::identity::ServerIdentity;
use tidegate_controlplane::metrics;
use tidegate_controlplane::store::backup;
use tidegate_controlplane::tail::Tail;
use tidegate_ring::contract::CONTRACT_VERSION;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing_subscriber::EnvFilter;

// What ships has no bug planted in it, and can't be built so that it has.
const _: () = assert!(!tidegate_faults::IS_ARMED, "this build is the simulator's");

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tidegate control plane: HTTP API, store, rules and publishing.
#[derive(Parser)]
#[command(version, long_version = VERSION.as_str(), arg_required_else_help = true)]
struct Command {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    file: ConfigFile,
    /// Say whether the configuration is good, and leave.
    #[arg(long)]
    check: bool,
    /// Print the configuration with the defaults filled in, and leave.
    #[arg(long)]
    print: bool,
}

/// What a dataplane has to share to be understood: docs/upgrade.md.
static VERSION: LazyLock<String> =
    LazyLock::new(|| format!("{}\nrings: version {CONTRACT_VERSION}", env!("CARGO_PKG_VERSION")));

#[derive(Subcommand)]
enum Action {
    /// Run the control plane until SIGTERM or SIGINT.
    Serve {
        /// Say whether the configuration is good, and leave.
        #[arg(long)]
        check: bool,
        /// Print the configuration with the defaults filled in, and leave.
        #[arg(long)]
        print: bool,
    },
    /// Follow the uplinks of a running control plane, one line each.
    Tail {
        /// Start after this cursor; 0 is the oldest uplink kept. Left out: only new ones.
        #[arg(long, value_name = "CURSOR")]
        from: Option<u64>,
        /// Print the JSON as it is.
        #[arg(long)]
        raw: bool,
    },
    /// Show the raw public key of this server: devices in mode RawPublicKey must know it.
    ServerKey,
    /// Accounts, users, access keys, policies, quotas; in a running control plane or without one.
    Admin {
        #[command(subcommand)]
        order: Order,
    },
    /// Make a store of a backup. The control plane must not run, and data_dir/store not be there.
    Restore {
        /// Which one, as `admin backups` lists them; left out: the newest.
        #[arg(long)]
        backup: Option<u32>,
        /// Where the backups are; left out: data_dir/backups.
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
    },
    /// Say whether the configuration is good, the certificates and keys that it names included.
    Check,
    /// Print the configuration with the defaults filled in.
    Print,
}

#[derive(Args)]
struct ConfigFile {
    /// The TOML file; left out: the defaults.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let command = Command::parse();
    match run(&command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("tidegate-controlplane: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<(), String> {
    let config = match &command.file.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    let action = if command.check {
        &Action::Check
    } else if command.print {
        &Action::Print
    } else {
        command
            .action
            .as_ref()
            .ok_or("say what to do: serve, tail, admin, server-key, check or print")?
    };
    match action {
        Action::Check | Action::Serve { check: true, .. } => {
            ServerIdentity::load_all(&config.server_identity)?;
            config.http.tls.as_ref().map(api::serve::tls).transpose()?;
            let name = command.file.config.as_deref().unwrap_or(Path::new("the default"));
            println!("{}: good", name.display());
            Ok(())
        }
        Action::Print | Action::Serve { print: true, .. } => {
            print!("{}", config.to_toml());
            Ok(())
        }
        Action::Serve { .. } => {
            log_to_stderr(&config.log.filter)?;
            confine::enter(&config)?;
            runtime()?.block_on(run_daemon(&config))
        }
        Action::ServerKey => server_key(&config),
        Action::Admin { order } => {
            let said = runtime()?.block_on(admin(&config, order.clone().with_files()?))?;
            print_line(&serde_json::to_string_pretty(&said).map_err(|e| e.to_string())?);
            Ok(())
        }
        Action::Restore { backup, from } => restore(&config, *backup, from.as_deref()),
        Action::Tail { from, raw } => {
            log_to_stderr("info")?;
            runtime()?.block_on(tail(&config, *from, *raw))
        }
    }
}

async fn run_daemon(config: &Config) -> Result<(), String> {
    // Before anything is opened: a port that is taken must not touch the store of a running one.
    let listen = config.http.listen;
    let listener =
        TcpListener::bind(listen).await.map_err(|e| format!("http.listen {listen}: {e}"))?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    let tls = config.http.tls.as_ref().map(api::serve::tls).transpose()?;
    let socket = config.http.unix_socket.as_deref().map(bind_unix).transpose()?;
    let metrics = bind_metrics(config.metrics.listen).await?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
    let key = root_key(config)?;
    let raw = raw_identity(config)?;
    let endpoints = config.endpoints(raw.public_key.clone());
    let identities = [vec![raw], ServerIdentity::load_all(&config.server_identity)?].concat();
    tokio::spawn(complain_daily(identities.clone()));
    let control = Control::start(config.settings(identities)).await.map_err(|e| e.to_string())?;

    let orders = take_orders(config, &control)?;
    tokio::spawn(count_hourly(control.clone()));
    resume_imports(&control);
    follow_log(&control, &config.customer_log);
    if let Some(listener) = metrics {
        tokio::spawn(metrics::serve(control.clone(), listener));
    }
    let (stop, stopping) = watch::channel(false);
    let api = Api::new(
        control.clone(),
        Box::new(key),
        config.aws(),
        endpoints,
        config.bounds(),
        stopping.clone(),
    );
    let api = Arc::new(api);
    let is_secure = tls.is_some();
    let mut servers = vec![Listener::Tcp(listener, tls)];
    servers.extend(socket.map(Listener::Unix));
    let servers = servers.into_iter().map(|from| serve(from, api.clone(), stopping.clone()));
    let server = tokio::spawn(join_all(servers));
    tracing::info!(%address, is_secure, region = config.aws.region, "the API listens");
    let alive = tokio::spawn(tell_service_manager(control.clone()));

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    alive.abort();
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    let _ = stop.send(true);
    if tokio::time::timeout(DRAIN, server).await.is_err() {
        tracing::warn!("some API requests did not end in time");
    }
    orders.abort();
    control.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// That we serve, and then, for as long as the core answers, that we still do: sd_notify(3).
/// Without a service manager nothing is said.
async fn tell_service_manager(control: Control) {
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut turns = tokio::time::interval(limit / 2);
    loop {
        turns.tick().await;
        if control.measured().await.1.is_some() {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
    }
}

fn root_key(config: &Config) -> Result<RootKey, String> {
    let (key, made) = RootKey::load_or_make(&config.data_dir)?;
    if made {
        let file = RootKey::path(&config.data_dir);
        tracing::info!(file = %file.display(), "made a root key pair");
    }
    Ok(key)
}

fn raw_identity(config: &Config) -> Result<ServerIdentity, String> {
    let (raw, made) = ServerIdentity::load_or_make_raw(&config.data_dir)?;
    if made {
        let file = ServerIdentity::raw_path(&config.data_dir);
        tracing::info!(file = %file.display(), sha256 = raw.public_key.sha256(), "made a raw key");
    }
    Ok(raw)
}

async fn bind_metrics(listen: Option<SocketAddr>) -> Result<Option<TcpListener>, String> {
    let Some(listen) = listen else { return Ok(None) };
    let listener = TcpListener::bind(listen).await;
    listener.map(Some).map_err(|e| format!("metrics.listen {listen}: {e}"))
}

/// Goes on with the import tasks of every account.
fn resume_imports(control: &Control) {
    control.resume_imports();
    for (account, _) in control.directory().accounts() {
        control.within(account).resume_imports();
    }
}

/// Hears the admin commands, and goes on with terminations that were interrupted.
fn take_orders(config: &Config, control: &Control) -> Result<JoinHandle<()>, String> {
    let admin = Admin {
        directory: control.directory().clone(),
        control: Some(control.clone()),
        root_id: config.aws.account_id.clone(),
        data_dir: config.data_dir.clone(),
    };
    let orders = socket::bind(&config.data_dir)
        .map_err(|e| format!("{}: {e}", socket::path(&config.data_dir).display()))?;
    let again = (control.directory().clone(), control.clone());
    tokio::spawn(async move { erase::resume(&again.0, Some(&again.1)).await });
    Ok(tokio::spawn(socket::serve(orders, admin)))
}

/// How many devices the accounts have, at the start and soon after each hour has begun.
async fn count_hourly(control: Control) {
    loop {
        control.count_all_devices().await;
        let into_hour_s = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() % HOUR_S);
        tokio::time::sleep(Duration::from_secs(HOUR_S - into_hour_s + 1)).await;
    }
}

/// Files and collectors that the customer's log goes to.
fn follow_log(control: &Control, log: &CustomerLogConfig) {
    if let Some(path) = &log.file {
        let (bytes_max, files_max) = (log.file_bytes_max, log.files_max);
        let file = LogFile { path: path.clone(), bytes_max, files_max };
        tokio::spawn(file.write(control.follow_log()));
    }
    if let Some(target) = log.otlp.as_deref().and_then(Target::parse) {
        tokio::spawn(target.export(control.follow_log()));
    }
}

/// Says of certificates that they have expired or will soon, at the start and then once a day.
async fn complain_daily(identities: Vec<ServerIdentity>) {
    let mut day = tokio::time::interval(DAY);
    loop {
        day.tick().await;
        let unix_s = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
        for complaint in identities.iter().filter_map(|identity| identity.complaint(unix_s)) {
            tracing::warn!("{complaint}");
        }
    }
}

/// By the daemon when one runs, else on its store.
async fn admin(config: &Config, order: Order) -> Result<serde_json::Value, String> {
    if let Some(said) = socket::order(&config.data_dir, &order).await {
        return said;
    }
    let directory = open_directory(&config.settings(Vec::new())).map_err(|e| e.to_string())?;
    let admin = Admin {
        directory: Arc::new(directory),
        control: None,
        root_id: config.aws.account_id.clone(),
        data_dir: config.data_dir.clone(),
    };
    erase::resume(&admin.directory, None).await;
    admin.run(order).await
}

fn restore(config: &Config, number: Option<u32>, from: Option<&Path>) -> Result<(), String> {
    let backups = from.map_or_else(|| admin::backups(&config.data_dir), Path::to_path_buf);
    let key = key_path(&config.data_dir);
    if !key.is_file() {
        return Err(format!("{} is missing: put the key of that store there", key.display()));
    }
    let store = store_path(&config.data_dir);
    let contents = backup::restore(&backups, number, &store).map_err(|e| e.to_string())?;
    let (entries, bytes) = (contents.entries, contents.bytes);
    print_line(&format!("{}: {entries} entries, {bytes} bytes", store.display()));
    Ok(())
}

fn server_key(config: &Config) -> Result<(), String> {
    let key = ServerIdentity::load_raw(&config.data_dir)
        .map_err(|why| format!("{why}: has the control plane run with this configuration?"))?
        .public_key;
    println!("SubjectPublicKeyInfo: {}", key.base64());
    println!("SHA-256: {}", key.sha256());
    print!("{}", key.pem());
    Ok(())
}

async fn tail(config: &Config, from: Option<u64>, raw: bool) -> Result<(), String> {
    if config.http.tls.is_some() && config.http.unix_socket.is_none() {
        return Err("tail speaks no TLS: set http.unix_socket".to_owned());
    }
    let tail = Tail {
        address: config.http.listen,
        socket: config.http.unix_socket.clone(),
        key: RootKey::load(&config.data_dir)
            .map_err(|why| format!("{why}: has the control plane run with this configuration?"))?,
        region: config.aws.region.clone(),
        raw,
    };
    tokio::select! {
        why = tail.follow(from, print_line) => Err(why),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// A reader that went away (`tail | head`) ends the process quietly.
fn print_line(line: &str) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}

const HOUR_S: u64 = 3_600;
const DAY: Duration = Duration::from_hours(24);
/// How long requests under way may take once the process was told to stop.
const DRAIN: Duration = Duration::from_secs(5);

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| e.to_string())
}

fn log_to_stderr(filter: &str) -> Result<(), String> {
    // What warp calls errors are clients that went away.
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| format!("warp=off,{filter}"));
    let filter = EnvFilter::try_new(&filter).map_err(|e| format!("log.filter: {e}"))?;
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colour)
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}
