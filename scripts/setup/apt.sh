# shellcheck shell=bash disable=SC2016 # $(...) in single quotes is apt's own
# Sourced by fetch: a private apt with its own lists, package cache and (empty) set of installed packages.
# It asks the Debian mirror this machine is already configured with, so no host is named here, and apt
# checks every file against Debian's signed Release. Needs no root and changes nothing outside its folder.
#
#   apt_open DIR ITEM SUITE...       choose the suites that the following calls see, and read their lists; apt_parts="main contrib"
#                                    before it: of these parts, else of main
#   apt_depends PATTERN PKG          the dependencies of PKG whose names match the extended regex
#   apt_version PKG                  the version that would be downloaded; empty if the suites have none
#   apt_nearest PKG VERSION          the version at or just above VERSION that the suites have
#   apt_download PKG...              exactly these packages, to DIR/ITEM/*.deb
#   apt_closure PKG...               these and all they depend on, libc included, to the same place

apt_mirror() { # the mirror of the running release, whatever the format of its sources
    local release
    release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    apt-get indextargets --no-release-info --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
        awk -v release="$release" '$2 == release || $2 ~ /^(old)*stable$/ { print $1; exit }'
}

apt_open() {
    local dir=$1 item=$2 keyring=/usr/share/keyrings/debian-archive-keyring.gpg mirror suite
    shift 2
    [ -r "$keyring" ] || fail "no Debian archive key on this machine; copy a cache folder made on Debian 12"
    mirror=$(apt_mirror)
    [ -n "$mirror" ] || fail "apt has no Debian mirror configured; copy a cache folder made on Debian 12"
    apt_archives=$dir/$item
    mkdir -p "$dir/lists/partial" "$apt_archives/partial"
    : >"$dir/status"
    for suite in "$@"; do
        echo "deb [signed-by=$keyring arch=amd64] $mirror $suite ${apt_parts:-main}"
    done >"$dir/$item.list"
    apt_suite=${*: -1}
    # Read after the machine's own settings, so proxies stay in force and clean-up hooks do not.
    cat >"$dir/$item.conf" <<END
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
Dir::State "$dir"; Dir::State::lists "$dir/lists"; Dir::State::status "$dir/status";
Dir::Cache "$dir"; Dir::Cache::archives "$apt_archives"; Dir::Log "$dir";
Dir::Cache::pkgcache "$item.pkgcache"; Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "$dir/$item.list"; Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null"; Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "amd64"; APT::Architectures { "amd64"; };
APT::Install-Recommends "false"; APT::Default-Release "$apt_suite";
APT::Get::AllowUnauthenticated "false"; APT::Get::List-Cleanup "false"; APT::Sandbox::User "$(id -un)";
Acquire::Languages "none"; Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Acquire::GzipIndexes "true"; Debug::NoLocking "true";
END
    apt_config=$dir/$item.conf
    apt-get -qq -c "$apt_config" update
}

apt_depends() {
    apt-cache -c "$apt_config" show --no-all-versions "$2" | sed -n 's/^Depends: //p' |
        tr , '\n' | sed -E 's/^ *([^ ]+).*/\1/' | grep -E "$1" || true
}

apt_version() {
    apt-cache -c "$apt_config" policy "$1" | sed -n 's/^ *Candidate: //p' | sed 's/^(none)$//'
}

apt_download() { (cd "$apt_archives" && apt-get -qq -c "$apt_config" download "$@"); }

apt_closure() { apt-get -qq -y -c "$apt_config" --download-only install "$@"; }

# apt_nearest PKG VERSION: of all versions in the suites the lowest from VERSION on, else the highest.
apt_nearest() {
    local found best=''
    while read -r found; do
        if [ -z "$best" ] || dpkg --compare-versions "$found" ge "$2"; then best=$found; fi
    done < <(apt-cache -c "$apt_config" madison "$1" | awk -F'|' '{ print $2 }' | tr -d ' ' | sort -rV)
    echo "$best"
}
