#!/bin/bash
# How is the fuzzer's program built? As cargo's RUSTC_WORKSPACE_WRAPPER: our own crates say where
# they have been (sancov), and what we stand on is what the other builds have compiled already.
#
# The address sanitizer watches the crates that have unsafe code: it makes compiling half as long
# again, and in the others there is nothing to see. RUSTC_BOOTSTRAP: it is no stable option; for
# these calls alone. No LTO: sancov and it do not go together.
shopt -s extglob
case " $* " in
*" --crate-name tidegate_"@(crypto|ring|dataplane|fuzz)" "*) sanitizer=-Zsanitizer=address ;;
esac
exec env RUSTC_BOOTSTRAP=1 "$@" -Clto=off -Cdebug-assertions ${sanitizer:-} --cfg fuzzing \
	-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
