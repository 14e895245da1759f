//! What holds of blobs, and of what only they are done, on either medium.

use super::*;

const ID: &str = "rljson/Yt/YtfW0T6bdCWWdoaakK6bgN";

pub(super) fn blobs_and_files_of_one_name_are_apart(store: &mut Store<impl Backend>) {
    store.do_put_in(Area::Blobs, ID, b"blob").unwrap();
    assert_eq!(store.do_stat(ID), Err(FileError::NotFound));
    assert_eq!(store.do_open(ID), Err(FileError::NotFound));
    assert_eq!(store.do_put(ID, b"a file"), Ok(Committed::Created));
    assert_eq!(store.do_range(Area::Blobs, ID, 0, 100).unwrap(), b"blob");
    assert_eq!(store.do_range(Area::Files, ID, 0, 100).unwrap(), b"a file");
    store.do_remove(Area::Blobs, ID).unwrap();
    assert_eq!(store.do_get(ID).unwrap(), b"a file");
    assert_eq!(store.used_and_reserved(Area::Files), (6, 0));
    assert_eq!(store.used_and_reserved(Area::Blobs), (0, 0));
}

pub(super) fn a_range_is_bounded_and_ends_with_its_blob(store: &mut Store<impl Backend>) {
    store.do_put_in(Area::Blobs, ID, b"0123456789").unwrap();
    let mut range = |offset, len| store.do_range(Area::Blobs, ID, offset, len).unwrap();
    assert_eq!(range(2, 3), b"234");
    assert_eq!(range(8, u64::MAX), b"89");
    assert_eq!(range(10, 1), b"");
    assert_eq!(range(u64::MAX, u64::MAX), b"");
    for path in ["rljson/Yt", "rljson/Yt/other", "rljson/Yt/YtfW0T6bdCWWdoaakK6bgN/x"] {
        assert_eq!(store.do_range(Area::Blobs, path, 0, 1), Err(FileError::NotFound), "{path}");
    }
    assert_eq!(store.do_range(Area::Blobs, "../x", 0, 1), Err(FileError::BadPath));
}

pub(super) fn what_is_removed_makes_room(store: &mut Store<impl Backend>) {
    for round in 0..10 {
        let size = 2_000 + round * 100;
        store.do_put_in(Area::Blobs, ID, &vec![0; size]).unwrap();
        assert_eq!(store.used_and_reserved(Area::Blobs), (size as u64, 0));
        store.do_remove(Area::Blobs, ID).unwrap();
        assert_eq!(store.used_and_reserved(Area::Blobs), (0, 0));
        assert_eq!(store.do_range(Area::Blobs, ID, 0, 1), Err(FileError::NotFound));
    }
}

pub(super) fn removing_what_is_not_there_is_no_error(store: &mut Store<impl Backend>) {
    store.do_put_in(Area::Blobs, ID, b"0123456789").unwrap();
    for path in ["other", "rljson/Yt/other", "rljson", &format!("{ID}/below")] {
        assert_eq!(store.do_remove(Area::Blobs, path), Ok(()), "{path}");
        assert_eq!(store.do_remove(Area::Blobs, path), Ok(()), "{path}");
    }
    assert_eq!(store.used_and_reserved(Area::Blobs), (10, 0));
    assert_eq!(store.do_range(Area::Blobs, ID, 0, 3).unwrap(), b"012");
    assert_eq!(store.do_remove(Area::Blobs, "../x"), Err(FileError::BadPath));
}

pub(super) fn a_file_that_is_read_may_be_removed(store: &mut Store<impl Backend>) {
    store.do_put("f", b"content").unwrap();
    let handle = store.do_open("f").unwrap().handle;
    store.do_remove(Area::Files, "f").unwrap();
    assert_eq!(store.do_open("f"), Err(FileError::NotFound));
    assert_eq!(store.do_read(handle, 3, 10).unwrap(), b"tent");
}

pub(super) fn blobs_have_a_quota_of_their_own(store: &mut Store<impl Backend>) {
    let full = FileError::BlobsFull { blobs_bytes_max: BLOBS_QUOTA };
    // One may be larger than the largest file.
    store.do_put_in(Area::Blobs, "a", &[0; 2 * FILE_MAX as usize]).unwrap();
    assert_eq!(store.do_begin_in(Area::Blobs, "b", Some(1_001)), Err(full.clone()));
    let upload = store.do_begin_in(Area::Blobs, "b", None).unwrap();
    store.do_chunk(upload, &[0; 1_000]).unwrap();
    assert_eq!(store.used_and_reserved(Area::Blobs), (2_000, 1_000));
    assert_eq!(store.used_and_reserved(Area::Files), (0, 0));
    assert_eq!(store.do_put("a", &[0; FILE_MAX as usize]), Ok(Committed::Created));
    assert_eq!(store.do_chunk(upload, b"x"), Err(full.clone()));
    assert_eq!(full.status(), 507);
    // The failed one has given back what it had.
    assert_eq!(store.used_and_reserved(Area::Blobs), (2_000, 0));
    assert_eq!(store.do_commit(upload), Err(FileError::Gone));
}

pub(super) fn a_blob_written_again_counts_once(store: &mut Store<impl Backend>) {
    assert_eq!(store.do_put_in(Area::Blobs, ID, b"same"), Ok(Committed::Created));
    assert_eq!(store.do_put_in(Area::Blobs, ID, b"same"), Ok(Committed::Replaced));
    assert_eq!(store.used_and_reserved(Area::Blobs), (4, 0));
    assert_eq!(store.do_range(Area::Blobs, ID, 0, 10).unwrap(), b"same");
}
