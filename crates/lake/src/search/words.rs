//! Cuts text into the words that are compared: the same for what is indexed, what is scanned and what is asked.
//!
//! Words are found by the rules of Unicode (UAX #29), then cut further at punctuation, so that `error_code` and
//! `example.com` are found by each of their parts, and asked for as a phrase. Scripts that put no spaces between words
//! are cut into characters: a run of them in a query is a phrase, which is to say a substring. Compared is what is
//! left of a text without case, and without variants of composition and compatibility (NFKC).

use std::ops::Range;

use icu_normalizer::ComposingNormalizerBorrowed;
use unicode_segmentation::UnicodeSegmentation;

/// Characters of a word at most; what is longer, such as a key in base64, is several words. It bounds a term's size.
const WORD_CHARS: usize = 60;
const NORMALIZER: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfkc();

/// Calls `each` with every word of `text`, as it is compared, and the bytes of `text` that it stands for.
pub(super) fn words(text: &str, mut each: impl FnMut(&str, Range<usize>)) {
    let mut folded = String::new();
    if text.is_ascii() {
        return ascii_words(text, |range| each(lower_case(&text[range.clone()], &mut folded), range));
    }
    let mut places = Vec::new();
    for (start, segment) in text.unicode_word_indices() {
        if segment.is_ascii() {
            ascii_words(segment, |range| {
                each(lower_case(&segment[range.clone()], &mut folded), start + range.start..start + range.end);
            });
            continue;
        }
        fold_segment(segment, &mut folded, &mut places);
        cut(&folded, |range| {
            let from = places.partition_point(|(at, _)| *at <= range.start).saturating_sub(1);
            let until = places.partition_point(|(at, _)| *at < range.end);
            let place = |at: usize| places.get(at).map_or(segment.len(), |(_, place)| *place);
            each(&folded[range], start + place(from)..start + place(until));
        });
    }
}

fn lower_case<'f>(word: &str, folded: &'f mut String) -> &'f str {
    folded.clear();
    folded.push_str(word);
    folded.make_ascii_lowercase();
    folded
}

/// A segment as it is compared, and where what stands for what: places in both, in order. It is folded before it is cut, so
/// that characters count as what they are put together to: Hangul of its parts, kana with a mark.
fn fold_segment(segment: &str, folded: &mut String, places: &mut Vec<(usize, usize)>) {
    folded.clear();
    places.clear();
    folded.extend(lower(segment));
    if NORMALIZER.is_normalized(folded) && folded.chars().count() == segment.chars().count() {
        let pairs = folded.char_indices().zip(segment.char_indices());
        places.extend(pairs.map(|((at, _), (place, _))| (at, place)));
        return;
    }
    folded.clear();
    // What is seen as one character is put together, and nothing beyond its bounds.
    for (place, character) in segment.grapheme_indices(true) {
        places.push((folded.len(), place));
        let character: String = lower(character).collect();
        // Compatibility forms of capitals become capitals only now.
        folded.extend(NORMALIZER.normalize_iter(character.chars()).flat_map(char::to_lowercase));
    }
}

/// The same as the general way, as a test makes sure, and much quicker.
fn ascii_words(text: &str, mut each: impl FnMut(Range<usize>)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        while at < bytes.len() && at - start < WORD_CHARS && bytes[at].is_ascii_alphanumeric() {
            at += 1;
        }
        if at > start {
            each(start..at);
        } else {
            at += 1;
        }
    }
}

/// The parts of a word: between punctuation, and single characters of the scripts without spaces.
fn cut(word: &str, mut each: impl FnMut(Range<usize>)) {
    let (mut start, mut chars) = (0, 0);
    let mut end = |from: &mut usize, to: usize| {
        if *from < to {
            each(*from..to);
        }
        *from = to;
    };
    for (at, c) in word.char_indices() {
        let after = at + c.len_utf8();
        // Marks that stand alone have a space as the compatible form of what they stand on.
        if is_punctuation(c) || c == ' ' {
            end(&mut start, at);
            (start, chars) = (after, 0);
        } else if has_no_spaces(c) {
            end(&mut start, at);
            end(&mut start, after);
            chars = 0;
        } else {
            chars += 1;
            if chars == WORD_CHARS {
                end(&mut start, after);
                chars = 0;
            }
        }
    }
    end(&mut start, word.len());
}

/// Without case, and without what is invisible.
fn lower(text: &str) -> impl Iterator<Item = char> + '_ {
    let lower = text.chars().filter(|c| !is_ignored(*c)).flat_map(char::to_lowercase);
    // The two small sigmas are one letter.
    lower.map(|c| if c == 'ς' { 'σ' } else { c })
}

/// What can stand inside of a word by the rules of Unicode, and parts two words here.
fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation()
        || matches!(
            c,
            '\u{b7}' | '\u{387}' | '\u{55f}' | '\u{5f4}' | '\u{589}' | '\u{60c}' | '\u{60d}' | '\u{66c}' | '\u{7f8}'
        )
        || matches!(c, '\u{2010}'..='\u{2027}' | '\u{202f}' | '\u{203f}'..='\u{2054}')
        || matches!(c, '\u{fe10}'..='\u{fe19}' | '\u{fe33}'..='\u{fe55}' | '\u{ff07}' | '\u{ff0c}' | '\u{ff0e}' | '\u{ff1a}' | '\u{ff1b}' | '\u{ff3f}')
}

/// Invisible: variation selectors, joiners, soft hyphens.
fn is_ignored(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Scripts without spaces between words, and Hangul, whose words carry particles.
fn has_no_spaces(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{fff}' // Thai, Lao, Tibetan
        | '\u{1000}'..='\u{109f}' // Myanmar
        | '\u{1780}'..='\u{17ff}' // Khmer
        | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{312f}' // Hiragana, Katakana, Bopomofo
        | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{a000}'..='\u{a4cf}' // Yi
        | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}'
        | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use icu_normalizer::DecomposingNormalizerBorrowed;
    use proptest::prelude::*;

    use super::*;

    fn list(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        words(text, |word, range| {
            assert!(text.get(range).is_some());
            found.push(word.to_owned());
        });
        found
    }

    /// The parts of the text that its words stand for.
    fn places(text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        words(text, |_, range| found.push(&text[range]));
        found
    }

    #[test]
    fn words_know_their_place() {
        assert_eq!(places("É_refund 東京"), ["É", "refund", "東", "京"]);
        assert_eq!(places("x カ\u{3099}ム、ｶﾞﾑ"), ["x", "カ\u{3099}", "ム", "ｶﾞ", "ﾑ"]);
        assert_eq!(places("ﬁn_soft\u{ad}ly \u{212a}"), ["ﬁn", "soft\u{ad}ly", "\u{212a}"]);
        assert_eq!(places("\u{fdfa}\u{628}"), ["\u{fdfa}", "\u{fdfa}", "\u{fdfa}", "\u{fdfa}\u{628}"]);
    }

    #[test]
    fn words_of_many_scripts() {
        for (text, expected) in [
            ("The refund, isn't it?", "the refund isn t it"),
            ("error_code=E42; see https://example.com/a.txt", "error code e42 see https example com a txt"),
            ("ÉCOLE e\u{301}cole ｅｃｏｌｅ straße ﬁn", "école école ecole straße fin"),
            ("ΟΔΟΣ οδός", "οδοσ οδόσ"),
            ("退款 refund東京タワーです", "退 款 refund 東 京 タ ワ ー で す"),
            ("환불을", "환 불 을"),
            // In parts, as some systems write file names, and in half width, as old ones write Japanese.
            ("\u{1112}\u{116a}\u{11ab}\u{1107}\u{116e}\u{11af}", "환 불"),
            ("か\u{3099}き\u{3099} カ\u{3099}ム", "が ぎ ガ ム"),
            ("ｶﾞﾑを1ｹ", "ガ ム を 1 ケ"),
            ("カ゛", "カ \u{3099}"),
            ("น้ำ", "น ้ ํ า"),
            ("ที่", "ท ี ่"),
            ("क्या हिन्दी", "क्या हिन्दी"),
            ("naïve_caf\u{e9}.txt", "naïve café txt"),
            ("…!? — 🎉", ""),
        ] {
            assert_eq!(list(text).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn a_long_word_is_several() {
        let words = list(&"x".repeat(150));
        assert_eq!(words.iter().map(String::len).collect::<Vec<_>>(), [60, 60, 30]);
        assert_eq!(list(&"ж".repeat(70)).iter().map(|word| word.chars().count()).collect::<Vec<_>>(), [60, 10]);
    }

    proptest! {
        #[test]
        fn any_text_has_words_in_order(text in ".{0,60}") {
            let mut last = 0..0;
            words(&text, |word, range| {
                assert!(!word.is_empty() && range.start < range.end && text.get(range.clone()).is_some());
                // What is seen as one character may be several words, of which the last goes on behind it.
                assert!(range.start >= last.start && range.end >= last.end, "{last:?} {range:?}");
                last = range;
            });
        }

        /// However it is composed, a text has the same words.
        #[test]
        fn composition_makes_no_difference(text in "[かきハヘ환불éạǰヴ\u{3099}\u{309a} a_1]{0,12}") {
            const NFC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfc();
            const NFD: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizerBorrowed::new_nfd();
            prop_assert_eq!(list(&NFC.normalize(&text)), list(&NFD.normalize(&text)));
        }

        /// What stands beside it does not change how ASCII text is cut.
        #[test]
        fn ascii_is_cut_as_everything_else(text in "[a-zA-Z0-9_.:,;' \"/-]{0,90}") {
            let beside = list(&format!("é {text}"));
            prop_assert_eq!(list(&text), &beside[1..]);
        }
    }
}
