//! Kept within bounds, found again after a restart, and never believed when damaged.

use std::sync::{Arc, atomic::AtomicI64};

use super::*;

struct World {
    folder: tempfile::TempDir,
    now_us: Arc<AtomicI64>,
}

const OF: Of = Of { size: 10 * BLOCK_BYTES + 5, modified_ms: 7 };

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), now_us: Arc::default() }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn open(&self, bytes_max: u64) -> Blocks {
        self.open_keeping_free(bytes_max, 0)
    }

    fn open_keeping_free(&self, bytes_max: u64, free_bytes_min: u64) -> Blocks {
        let now_us = Arc::clone(&self.now_us);
        let clock = Clock::new(move || now_us.load(Ordering::Relaxed));
        Blocks::open_with(self.cache(), bytes_max, free_bytes_min, clock, Metrics::register(&Registry::new()).unwrap())
    }

    fn bytes_on_disk(&self) -> u64 {
        files(&self.cache()).iter().map(|file| fs::metadata(file).unwrap().len()).sum()
    }
}

fn block(number: u64) -> Vec<u8> {
    vec![u8::try_from(number).unwrap(); usize::try_from(length(OF.size, number)).unwrap()]
}

fn put(blocks: &Blocks, numbers: std::ops::Range<u64>) {
    numbers.for_each(|number| blocks.put("a.parquet", number, OF, &block(number)));
}

fn there(blocks: &Blocks) -> Vec<u64> {
    (0..11).filter(|number| blocks.index.lock().blocks.contains_key(&key("a.parquet", *number))).collect()
}

#[test]
fn what_was_put_is_found_also_after_a_restart() {
    let world = World::new();
    put(&world.open(1 << 30), 0..11);
    let shelf = files(&world.cache())[0].parent().unwrap().to_owned();
    fs::write(shelf.join("0123.7"), "what was being written").unwrap();
    fs::write(world.cache().join("README"), "a file that is no shelf").unwrap();
    let blocks = world.open(1 << 30);
    for number in 0..11 {
        assert_eq!(blocks.get("a.parquet", number), Some((OF, block(number).into())), "{number}");
    }
    assert_eq!(blocks.get("b.parquet", 0), None);
    let names = files_named(&shelf);
    assert!(!names.is_empty() && names.iter().all(|name| name.len() == 32), "{names:?}");
}

fn files_named(shelf: &std::path::Path) -> Vec<String> {
    fs::read_dir(shelf).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn the_longest_unused_go_when_the_bound_is_reached() {
    let world = World::new();
    let bound = 4 * (BLOCK_BYTES + HEADER_BYTES as u64);
    let blocks = world.open(bound);
    put(&blocks, 0..4);
    assert_eq!(there(&blocks), [0, 1, 2, 3]);
    // Used, so that it stays.
    assert!(blocks.get("a.parquet", 0).is_some());
    put(&blocks, 4..6);
    assert_eq!(there(&blocks), [0, 3, 4, 5]);
    assert!(world.bytes_on_disk() <= bound);
    assert_eq!(blocks.metrics.bytes.get().unsigned_abs(), world.bytes_on_disk());
    // The same block again takes no more room.
    put(&blocks, 5..6);
    assert_eq!(there(&blocks), [0, 3, 4, 5]);
    drop(blocks);
    // A smaller bound holds from the start on.
    let blocks = world.open(bound / 2);
    assert_eq!(there(&blocks).len(), 2);
    assert!(world.bytes_on_disk() <= bound / 2);
}

#[test]
fn a_damaged_block_is_none_and_goes() {
    let damage: [fn(&mut Vec<u8>); 4] = [
        |bytes| *bytes.last_mut().unwrap() ^= 1,
        |bytes| bytes[HEADER_BYTES - 1] ^= 1,
        |bytes| bytes.truncate(bytes.len() - 1),
        Vec::clear,
    ];
    for (i, damage) in damage.iter().enumerate() {
        let world = World::new();
        let blocks = world.open(1 << 30);
        put(&blocks, 3..4);
        let file = files(&world.cache()).remove(0);
        let mut bytes = fs::read(&file).unwrap();
        damage(&mut bytes);
        fs::write(&file, bytes).unwrap();
        assert_eq!(blocks.get("a.parquet", 3), None, "damage {i}");
        assert_eq!(blocks.metrics.failures_total.get(), 1);
        assert!(!file.exists());
        put(&blocks, 3..4);
        assert!(blocks.get("a.parquet", 3).is_some());
    }
}

#[test]
fn a_block_under_another_name_is_none() {
    let world = World::new();
    let blocks = world.open(1 << 30);
    put(&blocks, 1..3);
    fs::copy(blocks.file(key("a.parquet", 1)), blocks.file(key("a.parquet", 2))).unwrap();
    assert_eq!(blocks.get("a.parquet", 2), None);
}

#[test]
fn a_folder_that_cannot_be_used_is_a_cache_that_holds_nothing() {
    let world = World::new();
    fs::write(world.cache(), "no folder").unwrap();
    let blocks = world.open(1 << 30);
    put(&blocks, 0..3);
    assert!(there(&blocks).is_empty());
    // One failure, as there are no tries for a minute.
    assert_eq!(blocks.metrics.failures_total.get(), 1);
    world.now_us.store(PAUSE_US + 1, Ordering::Relaxed);
    put(&blocks, 0..3);
    assert_eq!(blocks.metrics.failures_total.get(), 2);
    // Mended.
    fs::remove_file(world.cache()).unwrap();
    fs::create_dir(world.cache()).unwrap();
    world.now_us.store(2 * PAUSE_US + 2, Ordering::Relaxed);
    put(&blocks, 0..3);
    assert_eq!(there(&blocks), [0, 1, 2]);
}

#[test]
fn on_a_disk_that_runs_full_the_cache_gives_way() {
    let world = World::new();
    put(&world.open(1 << 30), 0..6);
    let blocks = world.open_keeping_free(1 << 30, u64::MAX);
    put(&blocks, 6..8);
    assert_eq!(there(&blocks).len(), 2, "two went for each that came");
    put(&blocks, 8..10);
    assert!(there(&blocks).is_empty());
    assert_eq!(blocks.metrics.failures_total.get(), 0);
}
