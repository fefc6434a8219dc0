//! What is found out about a bundle whose files somebody has changed.

use std::{fs, os::unix::fs::FileExt as _};

use orchestra_bundle::{BundleProblem, StoredBundle, verify};
use orchestra_model::bundle::Seal;

use crate::world::{World, publication, told};

/// A bundle of three files and some chunks, signed.
fn bundle(world: &World) -> StoredBundle {
    world.write("a", vec![1; 300 << 10]);
    world.write("b", vec![2; 300 << 10]);
    world.write("c", vec![3; 10]);
    let publisher = world.publisher("one");
    world.publish_by(&publication(), &[publisher]).unwrap().bundle
}

/// Turns a bit of a file of the bundle around.
fn flip(bundle: &StoredBundle, file: &str, at: u64) {
    let file = fs::File::options().read(true).write(true).open(bundle.path().join(file)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

fn problems(bundle: &StoredBundle) -> Vec<String> {
    let verified = verify(bundle).unwrap();
    assert_eq!(verified.wrong, verified.problems.len());
    verified.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_flipped_bit_of_content_is_named() {
    let world = World::new();
    let bundle = bundle(&world);
    flip(&bundle, "content", (310 << 10) + 1);
    let wanted = [
        "the data of b is not what was published",
        "chunk 2 of its content, in a, is not what was published",
    ];
    assert_eq!(problems(&bundle), wanted);
}

#[test]
fn content_that_is_cut_or_longer_is_named() {
    let world = World::new();
    let bundle = bundle(&world);
    let content = fs::File::options().write(true).open(bundle.path().join("content")).unwrap();
    let len = content.metadata().unwrap().len();
    content.set_len(len + 1).unwrap();
    assert_eq!(problems(&bundle), [format!("its content has {}B, and not 614410B", len + 1)]);
    content.set_len(len - 1).unwrap();
    assert_eq!(problems(&bundle).len(), 3);
    fs::remove_file(bundle.path().join("content")).unwrap();
    assert!(told(&verify(&bundle).unwrap_err()).contains("content"));
}

#[test]
fn every_flipped_bit_of_a_manifest_is_found() {
    let world = World::new();
    let bundle = bundle(&world);
    let len = fs::metadata(bundle.path().join("manifest")).unwrap().len();
    for at in 0..len {
        flip(&bundle, "manifest", at);
        let verified = verify(&bundle).unwrap();
        assert!(matches!(&*verified.problems, [BundleProblem::ManifestHash]), "{verified:?}");
        assert!(bundle.manifest().is_err());
        flip(&bundle, "manifest", at);
    }
    assert_eq!(problems(&bundle), [""; 0]);
}

/// Whatever bit of the seal is another one: it is no seal, one of another bundle, or nobody's.
#[test]
fn every_flipped_bit_of_a_seal_is_found() {
    let world = World::new();
    let bundle = bundle(&world);
    let len = fs::metadata(bundle.path().join("seal")).unwrap().len();
    let reference = bundle.id.to_string().parse().unwrap();
    let mut readable = 0;
    for at in 0..len {
        flip(&bundle, "seal", at);
        if let Ok(changed) = world.depot().find(&reference) {
            readable += 1;
            assert!(verify(&changed).unwrap().wrong > 0, "byte {at}");
        }
        flip(&bundle, "seal", at);
    }
    assert!(readable > 64, "{readable}");
    assert_eq!(problems(&bundle), [""; 0]);
}

#[test]
fn a_statement_that_says_something_else_than_its_manifest_is_found() {
    let world = World::new();
    let bundle = bundle(&world);
    let mut said = bundle.seal.statement.clone();
    said.size += 1;
    let path = bundle.path().join("seal");
    fs::write(path, Seal::unsigned(said).encode()).unwrap();
    let changed = world.depot().find(&"myapp".parse().unwrap()).unwrap();
    assert_eq!(problems(&changed), ["its statement says something else than its manifest"]);
}

#[test]
fn files_that_are_far_too_large_are_not_read() {
    let world = World::new();
    let bundle = bundle(&world);
    let manifest = fs::File::options().write(true).open(bundle.path().join("manifest")).unwrap();
    manifest.set_len(1 << 40).unwrap();
    let refused = verify(&bundle).unwrap_err().to_string();
    assert!(refused.contains("it is larger than 67108864 bytes"), "{refused}");
    let seal = fs::File::options().write(true).open(bundle.path().join("seal")).unwrap();
    seal.set_len(1 << 40).unwrap();
    let [Err(damaged)] = &world.depot().list().unwrap()[..] else { panic!() };
    assert!(damaged.why.to_string().contains("it is larger than"), "{damaged:?}");
}
