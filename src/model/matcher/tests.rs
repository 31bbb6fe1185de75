use super::*;

fn query(name: &str, value: config::ValuePattern) -> QueryMatch {
    let wanted = config::ValueMatch {
        name: name.into(),
        value,
    };
    MatcherCompiler::default().query(&wanted).unwrap()
}

fn header(name: &str, value: config::ValuePattern) -> HeaderMatch {
    let wanted = config::ValueMatch {
        name: name.into(),
        value,
    };
    MatcherCompiler::default().header(&wanted).unwrap()
}

#[test]
fn query_values_are_compared_decoded_and_any_occurrence_counts() {
    let exact = || query("na me", config::ValuePattern::Exact("a b&c".into()));
    for (text, matches) in [
        ("na+me=a+b%26c", true),
        ("na%20me=a%20b%26c", true),
        ("na+me=x&na+me=a+b%26c", true),
        ("na+me=a+b", false),
        ("name=a+b%26c", false),
        ("", false),
        ("&&", false),
    ] {
        assert_eq!(exact().matches(text), matches, "{text}");
    }
}

#[test]
fn query_parameter_is_present_with_and_without_a_value() {
    let present = query("debug", config::ValuePattern::Present);
    for (text, matches) in [
        ("debug", true),
        ("a=1&debug=", true),
        ("debug=1", true),
        ("debugger=1", false),
    ] {
        assert_eq!(present.matches(text), matches, "{text}");
    }
    assert!(!query("", config::ValuePattern::Present).matches(""));
}

#[test]
fn broken_escapes_stay_as_written() {
    for (text, decoded) in [
        ("%", &b"%"[..]),
        ("%4", b"%4"),
        ("%zz", b"%zz"),
        ("%+1", b"% 1"),
        ("%41%", b"A%"),
        ("%ff", b"\xff"),
    ] {
        assert_eq!(&*decode(text), decoded, "{text}");
    }
}

#[test]
fn regex_takes_the_whole_value_whatever_its_flags() {
    for (pattern, value, matches) in [
        ("a|b", "a", true),
        ("a|b", "ab", false),
        ("(?x)a+ # letters", "aaa", true),
        ("(?x)a+ # letters", "aaab", false),
        ("(?m)^a$", "a\nb", false),
        ("v[0-9]", "v1", true),
        ("v[0-9]", "v12", false),
        ("", "", true),
        ("", "x", false),
    ] {
        let matcher = header("x-test", config::ValuePattern::Regex(pattern.into()));
        let headers = Fields::of(&[("x-test", value.replace('\n', "\t"))]);
        if !value.contains('\n') {
            assert_eq!(matcher.matches(&headers), matches, "{pattern} on {value}");
        }
    }
}

#[test]
fn any_line_of_a_header_may_match() {
    let headers = Fields::of(&[("X-Env", "blue"), ("x-env", "green")]);
    assert!(header("x-env", config::ValuePattern::Exact("green".into())).matches(&headers));
    assert!(!header("x-env", config::ValuePattern::Exact("red".into())).matches(&headers));
    assert!(header("x-env", config::ValuePattern::Present).matches(&headers));
    assert!(!header("x-other", config::ValuePattern::Present).matches(&headers));
}

#[test]
fn monstrous_regex_is_refused_with_its_size() {
    let wanted = config::ValueMatch {
        name: "x".into(),
        value: config::ValuePattern::Regex(r"(\w{100}){100}".into()),
    };
    let error = MatcherCompiler::default().header(&wanted).unwrap_err();
    assert!(error.to_string().contains("bytes once compiled"), "{error}");
}

#[test]
fn equal_regexes_are_compiled_once() {
    let mut compiler = MatcherCompiler::default();
    let wanted = config::ValueMatch {
        name: "x".into(),
        value: config::ValuePattern::Regex("a+".into()),
    };
    compiler.header(&wanted).unwrap();
    compiler.query(&wanted).unwrap();
    assert_eq!(compiler.regexes.len(), 1);
}

#[test]
fn a_cookie_is_found_among_others_and_by_its_whole_name() {
    let headers = Fields::of(&[
        ("Cookie", "xid=1; id=two; id=three"),
        ("cookie", "late=4;flag"),
    ]);
    let values = |name| cookies(&headers, name).collect::<Vec<_>>();
    assert_eq!(values("id"), [b"two".as_slice(), b"three"]);
    assert_eq!(values("late"), [b"4"]);
    assert!(values("i").is_empty() && values("flag").is_empty());

    let cookie = |name: &str, value| {
        let name = name.into();
        MatcherCompiler::default()
            .cookie(&config::ValueMatch { name, value })
            .unwrap()
            .matches(&headers)
    };
    assert!(cookie("id", config::ValuePattern::Exact("three".into())));
    assert!(cookie("late", config::ValuePattern::Regex("[0-9]".into())));
    assert!(!cookie("xid", config::ValuePattern::Exact("2".into())));
    assert!(!cookie("flag", config::ValuePattern::Present));
}
