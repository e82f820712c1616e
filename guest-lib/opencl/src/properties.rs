//! Lists of properties as the API has them: names and values in turn, then 0.

use crate::cl_int;

/// Properties as they travel: 8 bytes each, without the final 0.
#[must_use]
pub fn encode(pairs: &[[u64; 2]]) -> Vec<u8> {
    pairs.iter().flatten().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Properties as the program is told of them: the list that it gave, with its end; nothing where it gave none.
#[must_use]
pub fn as_given(pairs: Option<&[[u64; 2]]>) -> Vec<u8> {
    pairs.map_or_else(Vec::new, |pairs| [encode(pairs), vec![0; 8]].concat())
}

/// Refuses names that are not among `known`, and names that stand there twice, with `error`.
///
/// # Errors
/// That.
pub fn check(pairs: &[[u64; 2]], known: &[u64], error: cl_int) -> Result<(), cl_int> {
    let is_bad = |(at, [name, _]): (usize, &[u64; 2])| {
        !known.contains(name) || pairs[..at].iter().any(|[other, _]| other == name)
    };
    if pairs.iter().enumerate().any(is_bad) { Err(error) } else { Ok(()) }
}

/// The value of a property.
#[must_use]
pub fn value(pairs: &[[u64; 2]], name: u64) -> Option<u64> {
    pairs.iter().find(|[other, _]| *other == name).map(|[_, value]| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_when_a_name_is_unknown_or_there_twice_then_refuses() {
        assert_eq!(check(&[[1, 5], [2, 5]], &[1, 2, 3], -64), Ok(()));
        assert_eq!(check(&[[1, 5], [1, 6]], &[1, 2, 3], -64), Err(-64));
        assert_eq!(check(&[[4, 5]], &[1, 2, 3], -64), Err(-64));
        assert_eq!((value(&[[1, 5]], 1), value(&[[1, 5]], 5)), (Some(5), None));
    }

    #[test]
    fn as_given_when_there_was_no_list_then_is_empty_and_else_ends_with_zero() {
        assert_eq!(as_given(None), []);
        assert_eq!(as_given(Some(&[])), [0; 8]);
    }
}
