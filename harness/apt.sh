# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash

# apt_private STATE ARCH SUITE: set the array apt to an apt-get that knows only
# SUITE for ARCH, from the mirror that this machine uses already, checked with
# Debian's archive keyring, and keeps everything in the folder STATE: the
# system's sources and package lists do not change.
apt_private() {
	local state=$1 arch=$2 suite=$3 uri keyring targets
	command -v apt-get >/dev/null ||
		die "apt-get is missing: unpack Linux ${BASE_VERSION:-} yourself and pass KDIR=path"
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -f "$keyring" ] || die "$keyring is missing: install debian-archive-keyring"

	# A mirror of the release suites carries the backports and the other
	# architectures as well; the security archive and third-party
	# repositories do not. Before the first "apt-get update" nothing is
	# labelled, and the path has to tell.
	# shellcheck disable=SC2016
	targets=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' \
		'Created-By: Packages' 2>/dev/null)
	uri=$(awk -F '|' '$1 == "Debian" && $2 == "Debian" { print $3; exit }' <<<"$targets")
	[ -n "$uri" ] || uri=$(awk -F '|' '$3 ~ /\/debian\/?$/ { print $3; exit }' <<<"$targets")
	[ -n "$uri" ] || die "this machine's apt sources name no Debian mirror"

	mkdir -p "$state/lists/partial" "$state/archives/partial" "$state/parts"
	echo "deb [arch=$arch signed-by=$keyring] $uri $suite main" >"$state/sources.list"
	: >"$state/status"
	# shellcheck disable=SC2034
	apt=(apt-get -qq
		-o "APT::Architecture=$arch" -o "APT::Architectures::=$arch"
		-o "Dir::Etc::SourceList=$state/sources.list"
		-o "Dir::Etc::SourceParts=$state/parts"
		-o "Dir::State=$state" -o "Dir::State::Lists=$state/lists"
		-o "Dir::State::Status=$state/status" -o "Dir::Cache=$state"
		-o "Acquire::Languages=none" -o "Acquire::Retries=3")
	# apt drops root for the user _apt, who may not write here.
	[ "$(id -u)" != 0 ] || apt+=(-o "APT::Sandbox::User=root")
}
