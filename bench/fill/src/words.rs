//! Text with the statistics of a language: some words are everywhere, most are rare.

use rand::Rng;
use rand::rngs::StdRng;

/// Words of the vocabulary.
pub(crate) const WORDS: usize = 300_000;

/// Words by their rank, drawn by Zipf's law.
pub(crate) struct Vocabulary {
    words: Vec<String>,
    /// Vose's alias table: the chance to stay at a place, and where one goes otherwise.
    alias: Vec<(f32, u32)>,
}

impl Vocabulary {
    pub(crate) fn new() -> Self {
        Self { words: (0..WORDS).map(word).collect(), alias: alias_table() }
    }

    /// The word of a rank, 0 the most frequent.
    pub(crate) fn word(&self, rank: usize) -> &str {
        &self.words[rank]
    }

    fn draw(&self, random: &mut StdRng) -> &str {
        let bits: u64 = random.random();
        let place = ((bits & 0xffff_ffff) * WORDS as u64) >> 32;
        let (stay, other) = self.alias[place as usize];
        let here = (bits >> 32) as f32 / 4_294_967_296.0 < stay;
        &self.words[if here { place as usize } else { other as usize }]
    }

    /// Sentences of about so many bytes.
    pub(crate) fn text(&self, random: &mut StdRng, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes + 32);
        while text.len() < bytes {
            if !text.is_empty() {
                text.push(if random.random_ratio(1, 8) { '\n' } else { ' ' });
            }
            self.sentence(random, &mut text);
        }
        text
    }

    fn sentence(&self, random: &mut StdRng, text: &mut String) {
        let count = random.random_range(6..18);
        for at in 0..count {
            let word = self.draw(random);
            if at == 0 {
                text.push_str(&word[..1].to_uppercase());
                text.push_str(&word[1..]);
            } else {
                text.push_str(if random.random_ratio(1, 10) { ", " } else { " " });
                text.push_str(word);
            }
        }
        text.push(if random.random_ratio(1, 6) { '?' } else { '.' });
    }
}

/// Syllables as digits, so that frequent words are short, and each is another one.
fn word(rank: usize) -> String {
    const CONSONANTS: &[u8; 20] = b"tnsrhldcmfpgwybvkxjz";
    const ENDS: [&str; 6] = ["", "n", "s", "", "r", "l"];
    let (mut word, mut rest) = (String::new(), rank);
    loop {
        let digit = rest % 100;
        word.push(char::from(CONSONANTS[digit / 5]));
        word.push(char::from(b"eaoiu"[digit % 5]));
        rest /= 100;
        if rest == 0 {
            return word + ENDS[rank % ENDS.len()];
        }
        rest -= 1;
    }
}

fn alias_table() -> Vec<(f32, u32)> {
    let sum: f64 = (1..=WORDS).map(|rank| 1.0 / rank as f64).sum();
    let mut shares: Vec<f64> = (1..=WORDS).map(|rank| WORDS as f64 / rank as f64 / sum).collect();
    let mut table = vec![(1.0, 0); WORDS];
    let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..WORDS).partition(|at| shares[*at] < 1.0);
    while let (Some(less), Some(more)) = (small.pop(), large.last().copied()) {
        table[less] = (shares[less] as f32, more as u32);
        shares[more] -= 1.0 - shares[less];
        if shares[more] < 1.0 {
            large.pop();
            small.push(more);
        }
    }
    table
}
