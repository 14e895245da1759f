//! What outlives a process, and what became of it meanwhile.

use proptest::prelude::*;

use super::*;

#[test]
fn what_was_committed_outlives_the_process_and_is_counted() {
    let scratch = Scratch::new();
    {
        let mut store = scratch.disk();
        store.do_put("a/f", &[1; 700]).unwrap();
        store.do_put("g", &[2; 900]).unwrap();
        store.do_store(&["a"], b"1").unwrap();
        let upload = store.do_begin("h", None).unwrap();
        store.do_chunk(upload, &[3; 100]).unwrap();
        assert_eq!(scratch.incoming("files"), 1);
    }
    let mut store = scratch.disk();
    assert_eq!(scratch.incoming("files"), 0, "left over uploads are removed");
    assert_eq!(store.used_and_reserved(Area::Files), (1_600, 0));
    assert_eq!(store.do_get("a/f").unwrap(), [1; 700]);
    assert_eq!(store.do_load(&[&["a"]]), Ok(vec![Some(b"1".to_vec())]));
    assert_eq!(store.do_begin("i", Some(901)), Err(FileError::Full { files_bytes_max: QUOTA }));
}

#[test]
fn blobs_outlive_the_process_and_what_was_half_written_does_not() {
    let scratch = Scratch::new();
    {
        let mut store = scratch.disk();
        store.do_put_in(Area::Blobs, "talk/ab/abc", &[1; 700]).unwrap();
        store.do_put_in(Area::Blobs, "talk/ab/abd", &[1; 400]).unwrap();
        store.do_remove(Area::Blobs, "talk/ab/abd").unwrap();
        store.do_put("f", &[2; 900]).unwrap();
        let torn = store.do_begin_in(Area::Blobs, "talk/x", None).unwrap();
        store.do_chunk(torn, &[3; 100]).unwrap();
        assert_eq!((scratch.incoming("blobs"), scratch.incoming("files")), (1, 0));
        assert!(scratch.0.join("blobs/content/talk/ab/abc").is_file());
    }
    let mut store = scratch.disk();
    assert_eq!(scratch.incoming("blobs"), 0, "what is torn is removed");
    assert_eq!(store.used_and_reserved(Area::Blobs), (700, 0));
    assert_eq!(store.used_and_reserved(Area::Files), (900, 0));
    assert_eq!(store.do_range(Area::Blobs, "talk/ab/abc", 0, 1_000).unwrap(), [1; 700]);
    assert_eq!(store.do_range(Area::Blobs, "talk/x", 0, 1), Err(FileError::NotFound));
    let full = FileError::BlobsFull { blobs_bytes_max: BLOBS_QUOTA };
    assert_eq!(store.do_begin_in(Area::Blobs, "talk/y", Some(2_301)), Err(full));
}

#[test]
fn uploads_that_end_leave_no_temporary_file() {
    let scratch = Scratch::new();
    let mut store = scratch.disk();
    store.do_put("dir/f", b"x").unwrap();
    let aborted = store.do_begin("f", None).unwrap();
    store.release(Release::Upload(aborted));
    let failed = store.do_begin("f", None).unwrap();
    assert!(store.do_chunk(failed, &[0; FILE_MAX as usize + 1]).is_err());
    let conflicting = store.do_begin("g", None).unwrap();
    store.do_put("g/below", b"x").unwrap();
    assert!(store.do_commit(conflicting).is_err());
    assert_eq!(scratch.incoming("files"), 0);
}

/// The only record's file.
fn record_file(scratch: &Scratch) -> PathBuf {
    scratch.0.join("records/croquet.sessions/a.rec")
}

#[test]
fn a_damaged_record_is_told_and_put_aside() {
    for damage in [
        |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 1),
        |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1,
        |bytes: &mut Vec<u8>| bytes.push(0),
        |bytes: &mut Vec<u8>| bytes.clear(),
    ] {
        let scratch = Scratch::new();
        let mut store = scratch.disk();
        store.do_store(&["a"], b"precious").unwrap();
        let path = record_file(&scratch);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        let error = store.do_load(&[&["a"]]).unwrap_err();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        assert_eq!(fs::read(path.with_extension("rec.corrupt")).unwrap(), bytes);
        assert_eq!(store.do_load(&[&["a"]]), Ok(vec![None]));
        store.do_store(&["a"], b"again").unwrap();
        assert_eq!(store.do_load(&[&["a"]]), Ok(vec![Some(b"again".to_vec())]));
    }
}

#[test]
fn a_replacement_that_was_interrupted_leaves_the_old_record() {
    let scratch = Scratch::new();
    let mut store = scratch.disk();
    store.do_store(&["a"], b"old").unwrap();
    let beside = record_file(&scratch).with_extension("rec.tmp");
    fs::write(&beside, b"half of the ne").unwrap();
    assert_eq!(store.do_load(&[&["a"]]), Ok(vec![Some(b"old".to_vec())]));
    store.do_store(&["a"], b"new").unwrap();
    assert_eq!(store.do_load(&[&["a"]]), Ok(vec![Some(b"new".to_vec())]));
    assert!(!beside.exists());
}

#[test]
fn errors_of_the_disk_name_the_file() {
    let scratch = Scratch::new();
    let mut store = scratch.disk();
    fs::create_dir_all(record_file(&scratch)).unwrap();
    for error in [store.do_store(&["a"], b"x").unwrap_err(), store.do_load(&[&["a"]]).unwrap_err()]
    {
        assert!(error.contains("records/croquet.sessions/a.rec"), "{error}");
    }
    fs::remove_dir(scratch.0.join("files/incoming")).unwrap();
    let error = store.do_begin("f", Some(5)).unwrap_err();
    assert!(error.to_string().contains("files/incoming/1"), "{error}");
    assert_eq!(error.status(), 500);
    assert_eq!(store.used_and_reserved(Area::Files), (0, 0), "nothing stays reserved");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn disk_and_memory_answer_alike(
        steps in proptest::collection::vec(
            ("[ab](/[ab]){0,2}", 0usize..1_200, any::<bool>(), any::<bool>()), 1..24,
        )
    ) {
        let scratch = Scratch::new();
        let (mut disk, mut memory) = (scratch.disk(), in_memory());
        for (path, length, hinted, whole) in steps {
            let hint = hinted.then_some(length as u64);
            let (on_disk, in_memory) = (disk.do_begin(&path, hint), memory.do_begin(&path, hint));
            prop_assert_eq!(&on_disk, &in_memory);
            let Ok(upload) = on_disk else { continue };
            let chunk = vec![length as u8; length];
            prop_assert_eq!(disk.do_chunk(upload, &chunk), memory.do_chunk(upload, &chunk));
            if whole {
                prop_assert_eq!(disk.do_commit(upload), memory.do_commit(upload));
            }
            prop_assert_eq!(disk.do_get(&path), memory.do_get(&path));
            prop_assert_eq!(disk.used_and_reserved(Area::Files), memory.used_and_reserved(Area::Files));
            let (used, reserved) = disk.used_and_reserved(Area::Files);
            prop_assert!(used + reserved <= QUOTA);
        }
        drop(disk);
        let on_disk = scratch.disk().used_and_reserved(Area::Files).0;
        prop_assert_eq!(on_disk, memory.used_and_reserved(Area::Files).0, "the scan counts what was counted");
    }

    #[test]
    fn any_record_comes_back(
        names in proptest::collection::vec("\\PC{0,80}", 1..4),
        content: Vec<u8>,
    ) {
        let scratch = Scratch::new();
        let mut store = scratch.disk();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        prop_assert_eq!(store.do_store(&names, &content), Ok(()));
        prop_assert_eq!(store.do_load(&[&names]), Ok(vec![Some(content)]));
    }
}

#[test]
fn a_data_directory_is_created_with_its_format_and_for_one_process() {
    let scratch = Scratch::new();
    let dir = scratch.0.join("new/data");
    let held = DataDir::open(&dir).unwrap();
    assert_eq!(fs::read_to_string(dir.join("format")).unwrap(), "1\n");
    let error = DataDir::open(&dir).unwrap_err().to_string();
    assert!(error.contains(dir.to_str().unwrap()), "{error}");
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    drop(held);
    assert_eq!(DataDir::open(&dir).unwrap().path(), dir);
}

#[test]
fn a_data_directory_of_another_format_is_left_alone() {
    let scratch = Scratch::new();
    for found in ["2\n", "", "one\n"] {
        fs::write(scratch.0.join("format"), found).unwrap();
        let error = DataDir::open(&scratch.0).unwrap_err();
        assert!(matches!(error, DataDirError::Format { .. }), "{error}");
        assert_eq!(fs::read_to_string(scratch.0.join("format")).unwrap(), found);
    }
    assert!(!scratch.0.join("files").exists());
}

#[test]
fn a_data_directory_that_cannot_be_is_told_with_its_path() {
    let scratch = Scratch::new();
    let file = scratch.0.join("file");
    fs::write(&file, b"").unwrap();
    for dir in [file.clone(), file.join("below")] {
        let error = DataDir::open(&dir).unwrap_err().to_string();
        assert!(error.contains(dir.to_str().unwrap()) && error.contains("--data-dir"), "{error}");
    }
}
