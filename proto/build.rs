//! Compiles the protocol with a compiler that is a crate, so that no machine needs `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

const FILES: [&str; 9] = [
    "orchestra/v1/register.proto",
    "orchestra/v1/place.proto",
    "orchestra/v1/tree.proto",
    "orchestra/v1/service.proto",
    "orchestra/v1/flow.proto",
    "orchestra/v1/fetching.proto",
    "orchestra/v1/player.proto",
    "orchestra/v1/policy.proto",
    "orchestra/v1/audience.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=orchestra");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), protox::prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .codec_path("crate::codec::BoundedCodec")
        .compile_fds(descriptors)?;
    Ok(())
}
