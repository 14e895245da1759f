//! What holds on either medium.

use super::*;

pub(super) fn a_file_comes_back_as_it_was_put(store: &mut Store<impl Backend>) {
    let content: Vec<u8> = (0..FILE_MAX).map(|n| n as u8).collect();
    assert_eq!(store.do_put("a/b/c.snap", &content), Ok(Committed::Created));
    assert_eq!(store.do_get("a/b/c.snap").unwrap(), content);
    assert_eq!(store.do_put("a/b/c.snap", b"new"), Ok(Committed::Replaced));
    assert_eq!(store.do_get("a/b/c.snap").unwrap(), b"new");
    let metadata = store.do_stat("a/b/c.snap").unwrap();
    assert_eq!(metadata.length, 3);
    assert!(metadata.modified_ms >= WALL_MS, "{metadata:?}");
    for missing in ["a/b/d", "a/b", "a", "a/b/c.snap/d"] {
        assert_eq!(store.do_stat(missing), Err(FileError::NotFound), "{missing}");
        assert_eq!(store.do_open(missing), Err(FileError::NotFound), "{missing}");
    }
}

pub(super) fn ranges_are_read_up_to_the_files_end(store: &mut Store<impl Backend>) {
    store.do_put("f", b"0123456789").unwrap();
    let handle = store.do_open("f").unwrap().handle;
    assert_eq!(store.do_read(handle, 2, 3).unwrap(), b"234");
    assert_eq!(store.do_read(handle, 8, 100).unwrap(), b"89");
    assert_eq!(store.do_read(handle, 10, 1).unwrap(), b"");
    assert_eq!(store.do_read(handle, 1 << 40, 1).unwrap(), b"");
    assert_eq!(store.do_read(handle, 0, usize::MAX).unwrap(), b"0123456789");
}

pub(super) fn replacing_a_file_does_not_change_what_is_being_read(store: &mut Store<impl Backend>) {
    store.do_put("f", b"old").unwrap();
    let old = store.do_open("f").unwrap();
    store.do_put("f", b"newer").unwrap();
    assert_eq!(store.do_read(old.handle, 0, 10).unwrap(), b"old");
    assert_eq!(store.do_get("f").unwrap(), b"newer");
}

pub(super) fn an_upload_is_not_seen_before_its_commit(store: &mut Store<impl Backend>) {
    let upload = store.do_begin("d/f", None).unwrap();
    store.do_chunk(upload, b"half").unwrap();
    assert_eq!(store.do_stat("d/f"), Err(FileError::NotFound));
    store.do_chunk(upload, b" and half").unwrap();
    assert_eq!(store.do_commit(upload), Ok(Committed::Created));
    assert_eq!(store.do_get("d/f").unwrap(), b"half and half");
}

pub(super) fn an_aborted_upload_leaves_nothing(store: &mut Store<impl Backend>) {
    let upload = store.do_begin("f", Some(FILE_MAX)).unwrap();
    store.do_chunk(upload, b"x").unwrap();
    assert_eq!(store.used_and_reserved(Area::Files), (0, FILE_MAX));
    assert!(store.perform(Operation::PutAbort { upload }).is_none());
    assert!(store.perform(Operation::PutAbort { upload }).is_none());
    assert_eq!(store.used_and_reserved(Area::Files), (0, 0));
    assert_eq!(store.do_stat("f"), Err(FileError::NotFound));
    assert_eq!(store.do_commit(upload), Err(FileError::Gone));
}

pub(super) fn paths_that_leave_are_refused_everywhere(store: &mut Store<impl Backend>) {
    for path in ["..", "../x", "a/../../x", "/etc/passwd", "", "a//b", "a/", "./a", "a\0"] {
        assert_eq!(store.do_begin(path, None), Err(FileError::BadPath), "{path:?}");
        assert_eq!(store.do_open(path), Err(FileError::BadPath), "{path:?}");
        assert_eq!(store.do_stat(path), Err(FileError::BadPath), "{path:?}");
    }
}

pub(super) fn a_file_in_place_of_a_directory_is_a_conflict(store: &mut Store<impl Backend>) {
    store.do_put("a/b/file", b"x").unwrap();
    for path in ["a", "a/b", "a/b/file/c", "a/b/file/c/d"] {
        let conflict = FileError::Conflict { path: path.to_owned() };
        assert_eq!(store.do_begin(path, None), Err(conflict), "{path}");
    }
    // Neighbours in the order of names are none in the tree.
    assert_eq!(store.do_put("a/b.", b"x"), Ok(Committed::Created));
    assert_eq!(store.do_put("a/b0", b"x"), Ok(Committed::Created));
    assert_eq!(store.used_and_reserved(Area::Files), (3, 0));
}

pub(super) fn a_conflict_that_came_up_during_an_upload_is_noticed(store: &mut Store<impl Backend>) {
    for (first, second) in [("p", "p/below"), ("q/below", "q")] {
        let upload = store.do_begin(first, Some(4)).unwrap();
        store.do_put(second, b"x").unwrap();
        let conflict = FileError::Conflict { path: first.to_owned() };
        assert_eq!(store.do_commit(upload), Err(conflict));
        assert_eq!(store.do_get(second).unwrap(), b"x");
    }
    assert_eq!(store.used_and_reserved(Area::Files), (2, 0));
}

pub(super) fn files_above_their_limit_are_refused(store: &mut Store<impl Backend>) {
    let too_large = FileError::TooLarge { file_bytes_max: FILE_MAX };
    assert_eq!(store.do_begin("f", Some(FILE_MAX + 1)), Err(too_large.clone()));
    let upload = store.do_begin("f", None).unwrap();
    store.do_chunk(upload, &[0; FILE_MAX as usize]).unwrap();
    assert_eq!(store.do_chunk(upload, b"x"), Err(too_large.clone()));
    assert_eq!(too_large.status(), 413);
    assert_eq!(store.used_and_reserved(Area::Files), (0, 0));
}

pub(super) fn uploads_at_the_same_time_cannot_exceed_the_quota(store: &mut Store<impl Backend>) {
    let full = FileError::Full { files_bytes_max: QUOTA };
    let one = store.do_begin("1", Some(FILE_MAX)).unwrap();
    let two = store.do_begin("2", Some(FILE_MAX)).unwrap();
    assert_eq!(store.do_begin("3", Some(FILE_MAX)), Err(full.clone()));
    let three = store.do_begin("3", None).unwrap();
    store.do_chunk(three, &[0; 500]).unwrap();
    assert_eq!(store.do_chunk(three, b"x"), Err(full.clone()));
    assert_eq!(full.status(), 507);
    // What was promised and not used is free again.
    store.do_chunk(one, b"x").unwrap();
    store.do_commit(one).unwrap();
    assert_eq!(store.used_and_reserved(Area::Files), (1, FILE_MAX));
    store.release(Release::Upload(two));
    assert_eq!(store.used_and_reserved(Area::Files), (1, 0));
    // A hint that was too low does not get around the quota.
    let low = store.do_begin("4", Some(1)).unwrap();
    store.do_chunk(low, &[0; 900]).unwrap();
    assert_eq!(store.used_and_reserved(Area::Files), (1, 900));
}

pub(super) fn replacing_a_file_frees_the_old_one(store: &mut Store<impl Backend>) {
    for round in 0..10u64 {
        store.do_put("f", &vec![0; 900 + round as usize]).unwrap();
        assert_eq!(store.used_and_reserved(Area::Files), (900 + round, 0));
    }
    store.do_put("f", b"").unwrap();
    assert_eq!(store.used_and_reserved(Area::Files), (0, 0));
}

pub(super) fn a_failed_chunk_ends_its_upload(store: &mut Store<impl Backend>) {
    let upload = store.do_begin("f", None).unwrap();
    assert!(store.do_chunk(upload, &[0; FILE_MAX as usize + 1]).is_err());
    assert_eq!(store.do_chunk(upload, b"x"), Err(FileError::Gone));
    assert_eq!(store.do_commit(upload), Err(FileError::Gone));
}

pub(super) fn uploads_and_handles_are_bounded(store: &mut Store<impl Backend>) {
    store.do_put("f", b"x").unwrap();
    let uploads: Vec<_> =
        (0..UPLOADS_MAX).map(|n| store.do_begin(&n.to_string(), None).unwrap()).collect();
    assert_eq!(store.do_begin("g", None), Err(FileError::TooMany));
    store.release(Release::Upload(uploads[3]));
    assert!(store.do_begin("g", None).is_ok());
    let handles: Vec<_> = (0..HANDLES_MAX).map(|_| store.do_open("f").unwrap().handle).collect();
    assert_eq!(store.do_open("f"), Err(FileError::TooMany));
    store.release(Release::Handle(handles[3]));
    assert!(store.do_open("f").is_ok());
}

pub(super) fn what_is_over_is_gone(store: &mut Store<impl Backend>) {
    store.do_put("f", b"x").unwrap();
    let handle = store.do_open("f").unwrap().handle;
    assert!(store.perform(Operation::GetClose { handle }).is_none());
    assert_eq!(store.do_read(handle, 0, 1), Err(FileError::Gone));
    assert_ne!(store.do_open("f").unwrap().handle, handle, "ids are not used again");
}

pub(super) fn empty_files_are_files(store: &mut Store<impl Backend>) {
    assert_eq!(store.do_put("f", b""), Ok(Committed::Created));
    assert_eq!(store.do_put("f", b""), Ok(Committed::Replaced));
    assert_eq!(store.do_get("f").unwrap(), b"");
}

pub(super) fn records_come_back_in_the_order_asked_for(store: &mut Store<impl Backend>) {
    assert_eq!(store.do_load(&[&["a"], &["b"]]), Ok(vec![None, None]));
    store.do_store(&["a"], b"1").unwrap();
    store.do_store(&["b"], b"").unwrap();
    store.do_store(&["a"], b"one").unwrap();
    let loaded = store.do_load(&[&["b"], &["c"], &["a"], &["a"]]);
    let (one, empty) = (Some(b"one".to_vec()), Some(Vec::new()));
    assert_eq!(loaded, Ok(vec![empty, None, one.clone(), one]));
    assert_eq!(store.do_load(&[]), Ok(vec![]));
}

pub(super) fn odd_and_long_record_names_do_not_meet(store: &mut Store<impl Backend>) {
    let long = "ü/".repeat(300);
    let longer = format!("{long}x");
    let names: &[&[&str]] = &[
        &[".."],
        &["."],
        &[""],
        &["", ""],
        &["a", "b"],
        &["a/b"],
        &["a"],
        &["A"],
        &["a.rec"],
        &["a.rec", "b"],
        &["\0\n"],
        &[&long],
        &[&longer],
        &[&long, "x"],
    ];
    for (number, names) in names.iter().enumerate() {
        store.do_store(names, &[number as u8]).unwrap();
    }
    let loaded = store.do_load(names).unwrap();
    let numbers: Vec<_> = loaded.into_iter().map(|content| content.unwrap()[0]).collect();
    assert_eq!(numbers, (0..names.len() as u8).collect::<Vec<_>>());
}

pub(super) fn a_record_without_a_name_is_an_error(store: &mut Store<impl Backend>) {
    assert!(store.do_store(&[], b"x").is_err());
    assert!(store.do_load(&[&[]]).is_err());
    let huge = "x".repeat(RECORD_NAME_BYTES_MAX);
    assert!(store.do_store(&[&huge], b"x").unwrap_err().contains("croquet/sessions"));
    assert!(store.do_store(&["a"], &vec![0; RECORD_BYTES_MAX + 1]).is_err());
}
