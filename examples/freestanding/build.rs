//! How the programs are linked: without a C library and its start code, at a fixed address, as `layout.ld` says.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::rerun-if-changed=layout.ld");
    for flag in ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-fuse-ld=lld"] {
        println!("cargo::rustc-link-arg-bins={flag}");
    }
    // `-n` does not align to pages; the last one removes the section headers, which only debuggers read.
    for flag in [&format!("-T,{folder}/layout.ld"), "-n", "--build-id=none", "-znosectionheader"] {
        println!("cargo::rustc-link-arg-bins=-Wl,{flag}");
    }
}
