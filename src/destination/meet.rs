//! Whether two sequences with wildcards of any length can describe the same thing.

/// Whether some sequence fits both `a` and `b`, where elements for which `many` holds stand for any run of elements
/// and all others for one each, compatible if `pair` says so. Costs the product of the lengths.
pub(super) fn meet<T>(a: &[T], b: &[T], many: impl Fn(&T) -> bool, pair: impl Fn(&T, &T) -> bool) -> bool {
    // below[j]: whether a[i + 1..] meets b[j..]; row[j]: the same for a[i..].
    let mut below = vec![false; b.len() + 1];
    for i in (0..=a.len()).rev() {
        let mut row = vec![false; b.len() + 1];
        for j in (0..=b.len()).rev() {
            row[j] = match (a.get(i), b.get(j)) {
                (None, None) => true,
                (Some(own), _) if many(own) => below[j] || (j < b.len() && row[j + 1]),
                (own, Some(other)) if many(other) => row[j + 1] || (own.is_some() && below[j]),
                (Some(own), Some(other)) => pair(own, other) && below[j + 1],
                _ => false,
            };
        }
        below = row;
    }
    below[0]
}
