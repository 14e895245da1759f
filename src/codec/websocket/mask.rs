//! Unmasking (RFC 6455 §5.3), eight bytes at a time.

/// XORs `data` with the repeated `key` and gives the key for the bytes that follow `data` in the
/// same frame.
///
/// Masking and unmasking are the same.
#[must_use = "the next piece of the frame needs the rolled key"]
pub fn unmask(data: &mut [u8], key: [u8; 4]) -> [u8; 4] {
    let wide = wide(key);
    let (chunks, tail) = data.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= key;
    }
    rolled(key, data.len())
}

/// The key twice, in memory order.
fn wide(key: [u8; 4]) -> u64 {
    let half = u64::from(u32::from_ne_bytes(key));
    half << 32 | half
}

fn rolled(mut key: [u8; 4], by: usize) -> [u8; 4] {
    key.rotate_left(by % 4);
    key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::unmask;

    fn naive(data: &[u8], key: [u8; 4]) -> Vec<u8> {
        data.iter().enumerate().map(|(index, byte)| byte ^ key[index % 4]).collect()
    }

    #[test]
    fn example_of_rfc_6455_5_7() {
        let mut hello = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(unmask(&mut hello, [0x37, 0xfa, 0x21, 0x3d]), [0xfa, 0x21, 0x3d, 0x37]);
        assert_eq!(&hello, b"Hello");
    }

    proptest! {
        #[test]
        fn is_the_bytewise_xor_at_any_alignment(
            data in prop::collection::vec(any::<u8>(), 0..200),
            key: [u8; 4],
            skip in 0_usize..16,
        ) {
            let mut buffer = vec![0; skip];
            buffer.extend_from_slice(&data);
            let _ = unmask(&mut buffer[skip..], key);
            prop_assert_eq!(&buffer[skip..], naive(&data, key));
        }

        #[test]
        fn pieces_make_the_whole(
            data in prop::collection::vec(any::<u8>(), 0..200),
            key: [u8; 4],
            cuts in prop::collection::vec(0_usize..20, 0..30),
        ) {
            let mut pieces = data.clone();
            let (mut rest, mut rolling) = (&mut pieces[..], key);
            for cut in cuts {
                let (piece, tail) = rest.split_at_mut(cut.min(rest.len()));
                rolling = unmask(piece, rolling);
                rest = tail;
            }
            let _ = unmask(rest, rolling);
            prop_assert_eq!(pieces, naive(&data, key));
        }
    }
}
