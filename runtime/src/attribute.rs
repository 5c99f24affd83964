//! The macros as users see them, with the examples of their pages.
//!
//! The arguments are documented beside their parser, in the crate
//! `memocached-macros`; rustdoc appends that to what is here.

/// Caches what a function returns, shared through memcached.
///
/// A call looks up its key first. On a hit it returns the stored value and the
/// body does not run. On a miss the body runs and its result is stored; other
/// callers that ask for the same key wait for that result. If the cache fails,
/// the body runs as if there were no cache. Without servers (`MEMCACHED_SERVERS`
/// is not set) results are kept in this process.
///
/// ```
/// use memocached::memcached;
///
/// struct Shop {
///     tenant: String,
/// }
///
/// impl Shop {
///     /// A log makes no difference to the price, so the key leaves it out.
///     #[memcached(key = "price:<self.tenant>:<item>", ttl = "5m", entry = price_entry, skip(log))]
///     fn price(&self, item: u32, log: &mut Vec<String>) -> Option<u64> {
///         log.push(format!("{} asks for {item}", self.tenant));
///         (item < 1000).then(|| u64::from(item) * 3)
///     }
/// }
///
/// # fn main() -> Result<(), memocached::Error> {
/// let shop = Shop { tenant: "acme".into() };
/// let mut log = Vec::new();
/// assert_eq!(shop.price(7, &mut log), Some(21));
/// assert_eq!(shop.price(7, &mut log), Some(21));
/// assert_eq!(log, ["acme asks for 7"]); // the second call was a hit
///
/// // The entry of a call can be read, replaced and deleted without a call.
/// shop.price_entry(7).delete()?;
/// # Ok(())
/// # }
/// ```
///
/// Functions, methods, generic functions and async functions (on tokio) can be
/// cached, if the value implements serde's `Serialize` and `DeserializeOwned`.
/// Of a `Result` only `Ok` is stored, of an `Option` only `Some`.
///
/// # Keys
///
/// A template is text with placeholders: `<id>`, `<user.id>`, `<pair.0>`,
/// `<self.tenant>`, `<request.kind()>`; `<<` is a literal `<`. The trait
/// [`KeyPart`](trait@crate::KeyPart) writes a value, or a format does:
/// `<x:display>`, `<x:debug>`, `<x:hash>`, and `<x:bits>` for floats. Values
/// are escaped where they could be taken for the template's text, so different
/// arguments never share a key. Type and const parameters are added to the key
/// without being named.
///
/// Every parameter is in the key or in `skip(..)`, unless the body never reads
/// it; otherwise the function does not compile.
#[doc(inline)]
pub use memocached_macros::memcached;

/// Implements [`KeyPart`](trait@crate::KeyPart) for a struct or an enum, so that
/// its values can be placeholders in a key template.
///
/// A struct is written as the list of its fields, an enum as the name of the
/// variant followed by its fields. Every field's type implements `KeyPart`,
/// except where `#[key(skip)]` leaves the field out. Skip only what makes no
/// difference to the result: values that differ in nothing else share a key.
///
/// ```
/// use memocached::{KeyPart, memcached};
///
/// #[derive(KeyPart)]
/// struct Query {
///     table: String,
///     limit: u32,
///     #[key(skip)]
///     trace_id: u64,
/// }
///
/// #[memcached(key = "rows:<query>", entry = rows_entry)]
/// fn rows(query: &Query) -> Vec<u32> {
///     (0..query.limit).collect()
/// }
///
/// let query = Query { table: "users".into(), limit: 2, trace_id: 7 };
/// assert_eq!(rows(&query), [0, 1]);
/// assert_eq!(rows_entry(&query).key(), "rows:(users,2)");
/// ```
#[doc(inline)]
pub use memocached_macros::KeyPart;
