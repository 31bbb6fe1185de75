use super::*;

#[test]
fn words_give_back_what_they_were_made_of() {
    for verdict in [Verdict::Unknown, Verdict::Healthy, Verdict::Unhealthy] {
        let since = Millis(0x00ab_cdef_0123_4567);
        let checked = Checked { verdict, since };
        assert_eq!(Checked::from_word(checked.word()), checked);
    }
    let experience = Experience {
        until: Millis(UNTIL_END - 1),
        ejections: 255,
        streak: u16::MAX,
        trust: Trust::Full,
    };
    assert_eq!(Experience::from_word(experience.word()), experience);
    let experience = Experience {
        until: Millis(1),
        ejections: 1,
        streak: 0,
        trust: Trust::Trial,
    };
    assert_eq!(Experience::from_word(experience.word()), experience);
    assert_eq!(Experience::from_word(0), Experience::default());
    let far = Experience {
        until: Millis(u64::MAX),
        ..Experience::default()
    };
    assert_eq!(
        Experience::from_word(far.word()).until,
        Millis(UNTIL_END - 1)
    );
}

#[test]
fn an_ejection_ends_by_itself_and_a_failed_check_does_not() {
    let checked = |verdict| Checked {
        verdict,
        since: Millis(5),
    };
    let out = Experience {
        until: Millis(100),
        ..Experience::default()
    };
    let of = |verdict, now| Health::of(checked(verdict), out, Millis(now));
    assert_eq!(of(Verdict::Unknown, 99), Health::Ejected);
    assert_eq!(of(Verdict::Unknown, 100), Health::Unknown);
    assert_eq!(of(Verdict::Healthy, 99), Health::Ejected);
    assert_eq!(of(Verdict::Healthy, 100), Health::Healthy);
    assert_eq!(of(Verdict::Unhealthy, 99), Health::Unhealthy);
    assert_eq!(of(Verdict::Unhealthy, 500), Health::Unhealthy);
    let trial = Experience {
        trust: Trust::Trial,
        ..out
    };
    let of = |verdict, now| Health::of(checked(verdict), trial, Millis(now));
    assert_eq!(of(Verdict::Healthy, 99), Health::Ejected);
    assert_eq!(of(Verdict::Healthy, 100), Health::Trial);
    assert_eq!(of(Verdict::Unhealthy, 100), Health::Unhealthy);
}

#[test]
fn who_was_ejected_is_on_trial_until_an_answer_of_after_it() {
    let out = Experience {
        until: Millis(100),
        ejections: 1,
        streak: 0,
        trust: Trust::Trial,
    };
    assert!(out.is_out(Millis(99)) && !out.is_on_trial(Millis(99)));
    assert!(!out.is_out(Millis(100)) && out.is_on_trial(Millis(100)));
    let late = out.after_answer(Millis(99));
    assert!(late.is_on_trial(Millis(100)), "to a request of before");
    let well = late.after_answer(Millis(100));
    assert!(!well.is_on_trial(Millis(100)) && well.streak == 0);
    let back = out.back(Millis(50));
    assert!(back.is_on_trial(Millis(50)) && back.until == Millis(50));
    assert_eq!(out.back(Millis(200)), out, "it was back already");
}
