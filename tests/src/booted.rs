//! What is a machine that systemd runs? Namespaces of our own in which it is PID 1, with our units
//! and no others, its own `/run`, `/etc`, `/var` and control group, and the host's loopback.
//!
//! What it could change of the host lies behind read-only mounts, and all of it ends with us.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::place::Directory;
use crate::process::Process;
use crate::repository::{binary, root};
use crate::wait::eventually;

/// A booted machine; ends when dropped.
#[derive(Debug)]
pub struct Booted {
    /// The one outside of the namespaces that ends with us, and takes the machine along.
    outside: Process,
    /// systemd, as the host numbers it.
    pid_1: u32,
    directory: Directory,
    group: String,
}

impl Booted {
    /// Boots it with our two units, not started yet, and their configurations. `Err`: this host's
    /// kernel does not let us, in words.
    pub fn new(dataplane: &str, controlplane: &str) -> Result<Self, String> {
        let directory = Directory::new("booted");
        for part in ["units/service.d", "etc", "cgroup"] {
            fs::create_dir_all(directory.path().join(part)).expect("a new directory");
        }
        directory.write("etc/dataplane.toml", dataplane);
        directory.write("etc/controlplane.toml", controlplane);
        for unit in ["tidegate-dataplane.service", "tidegate-controlplane.service"] {
            let text = fs::read_to_string(root().join("deploy/systemd").join(unit));
            directory.write(&format!("units/{unit}"), &text.expect("a unit"));
        }
        // There is no journal.
        directory
            .write("units/service.d/said.conf", "[Service]\nStandardError=append:/run/%p.said\n");
        for target in TARGETS {
            let text = format!("[Unit]\nDescription={target}\nDefaultDependencies=no\n");
            directory.write(&format!("units/{target}.target"), &text);
        }
        directory.write("inside.sh", INSIDE);
        let group = directory.path().file_name().expect("a name").to_string_lossy().into_owned();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", OUTSIDE, "sh"]).arg(directory.path()).arg(&group);
        command.args(PROGRAMS.map(binary));
        let mut outside = Process::start("systemd", &mut command);
        outside.try_next_line(|line| line == "booting")?;
        let children = format!("/proc/{}/task/{}/children", outside.id(), outside.id());
        let pid_1 = eventually("systemd", || {
            fs::read_to_string(&children).ok()?.split_whitespace().next()?.parse().ok()
        });
        let booted = Self { outside, pid_1, directory, group };
        eventually("systemd answers", || booted.try_systemctl(&["is-system-running"]).ok());
        Ok(booted)
    }

    /// `systemctl …`; what it said.
    ///
    /// # Panics
    /// When it fails.
    pub fn systemctl(&self, arguments: &[&str]) -> String {
        self.try_systemctl(arguments).unwrap_or_else(|said| {
            let logs: Vec<String> = PROGRAMS.map(|unit| self.said(unit)).into();
            panic!("systemctl {arguments:?}: {said}\n{}", logs.join("\n"))
        })
    }

    fn try_systemctl(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.pid_1.to_string(), "-m", "-u", "-i", "-p", "-C", "systemctl"]);
        Process::run("systemctl", command.args(arguments))
    }

    /// One property of a unit, as systemd shows it.
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.systemctl(&["show", "--value", "-p", name, unit]).trim().to_owned()
    }

    /// What a unit has said since the machine was booted.
    pub fn said(&self, unit: &str) -> String {
        fs::read_to_string(self.path(&format!("run/{unit}.said"))).unwrap_or_default()
    }

    /// A file of the machine, by the way that leads there from outside.
    pub fn path(&self, path: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.pid_1)).join(path)
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        self.outside.kill();
        // Its groups are gone once their processes are.
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", AFTERWARDS, "sh"]);
        command.arg(self.directory.path()).arg(&self.group);
        let _ = Process::run("afterwards", &mut command);
    }
}

const PROGRAMS: [&str; 2] = ["tidegate-dataplane", "tidegate-controlplane"];
/// What units name, with nothing behind it.
const TARGETS: [&str; 7] =
    ["story", "sysinit", "basic", "shutdown", "network", "network-online", "multi-user"];

/// With the directory, the group's name and the programs.
const OUTSIDE: &str = r#"
set -e
mount --make-rprivate /
mount -t cgroup2 none "$1/cgroup"
mkdir "$1/cgroup/$2"
echo $$ > "$1/cgroup/$2/cgroup.procs"
umount "$1/cgroup"
exec unshare --cgroup --pid --mount --uts --ipc --fork --kill-child --mount-proc \
    sh "$1/inside.sh" "$1" "$3" "$4"
"#;

/// With the directory and the programs.
const INSIDE: &str = r#"
set -e
for shown in /proc/sys /sys; do
    mount --bind $shown $shown
    mount -o remount,bind,ro $shown
done
mount --rbind /dev /dev
mount -o remount,bind,ro /dev
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs -o mode=755 none /run
mkdir /run/upper /run/work
cp -r "$1/units" /run/units
cp -r "$1/etc" /run/upper/tidegate
mount -t overlay -o lowerdir=/etc,upperdir=/run/upper,workdir=/run/work none /etc
sed -i '/^tidegate:/d' /etc/passwd /etc/group
echo 'tidegate:x:64990:64990::/nonexistent:/usr/sbin/nologin' >> /etc/passwd
echo 'tidegate:x:64990:' >> /etc/group
mount -t tmpfs -o mode=755 none /usr/local/bin
for program in "$2" "$3"; do
    touch "/usr/local/bin/${program##*/}"
    mount --bind "$program" "/usr/local/bin/${program##*/}"
done
for place in /var/lib /var/log; do mount -t tmpfs -o mode=755 none $place; done
for place in /tmp /var/tmp; do mount -t tmpfs -o mode=1777 none $place; done
cd /
echo booting
exec env -i PATH="$PATH" container=tidegate SYSTEMD_UNIT_PATH=/run/units \
    SYSTEMD_GENERATOR_PATH=/nonexistent \
    /lib/systemd/systemd --system --unit=story.target --show-status=no --log-target=null
"#;

const AFTERWARDS: &str = r#"
mount --make-rprivate / && mount -t cgroup2 none "$1/cgroup" || exit
for try in 1 2 3 4 5 6 7 8 9 10; do
    find "$1/cgroup/$2" -depth -type d -exec rmdir {} + 2> /dev/null && exit
    sleep 0.1
done
"#;
