//! Which pod this is, where the manifest says so: `POD_NAME` and `POD_NAMESPACE`.

use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pod {
    pub name: String,
    /// Empty where only the name is known.
    pub namespace: String,
}

impl Pod {
    pub fn of_environment() -> Option<Pod> {
        Pod::named(
            std::env::var("POD_NAME").ok(),
            std::env::var("POD_NAMESPACE").ok(),
        )
    }

    fn named(name: Option<String>, namespace: Option<String>) -> Option<Pod> {
        Some(Pod {
            name: name.filter(|name| !name.is_empty())?,
            namespace: namespace.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_by_its_name() {
        let text = |text: &str| Some(text.to_owned());
        let pod = Pod::named(text("web-0"), text("shop")).unwrap();
        assert_eq!((&pod.name[..], &pod.namespace[..]), ("web-0", "shop"));
        assert_eq!(Pod::named(text("web-0"), None).unwrap().namespace, "");
        assert_eq!(Pod::named(text(""), text("shop")), None);
        assert_eq!(Pod::named(None, None), None);
    }
}
