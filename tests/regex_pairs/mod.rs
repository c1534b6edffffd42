//! Pairs of patterns and packets in the syntax that Python's `re` and `Regex` share.

pub(crate) const COMMON: &[(&str, &[u8])] = &[
    ("", b""),
    ("", b"\xFF"),
    ("", b"a"),
    ("abc", b"abc"),
    ("abc", b"abcd"),
    ("abc", b"ab"),
    ("abc", b"xabc"),
    ("abc", b"ABC"),
    ("a|b|", b"b"),
    ("a|b|", b"c"),
    ("a|b|", b"\x80"),
    ("ab|a", b"a"),
    ("ab|a", b"ac"),
    ("ab|a", b"b"),
    (".", b""),
    (".", b"\n"),
    (".", b"\r"),
    (".", b"\x80"),
    (".", b"\x00"),
    (".", b"\xFF\xFE"),
    (".{3}", b"\xE2\x82\xAC"),
    (".{3}", b"\xE2\x82"),
    (".{3}", b"ab\n"),
    ("(?s).{3}", b"a\nb"),
    ("(?s).{3}", b"\n\n"),
    ("(?s).{3}", b"\xFF\n\xFF"),
    (".*b", b"aab"),
    (".*b", b"a\nb"),
    (".*b", b"\xFF\xFEb"),
    (".*b", b"b"),
    (r"(?s).*\xFE", b"\n\xFE"),
    (r"(?s).*\xFE", b"\xFD"),
    (r"(?s).*\xFE", b"\xFE"),
    (r"(?s).*\xFE", b"a\xC3\xBE"),
    ("é", b"\xC3\xA9"),
    ("é", b"\xE9"),
    ("é", b"\xC3"),
    ("é", b"\xC3\xA8"),
    ("é*b", b"\xC3b"),
    ("é*b", b"\xC3\xA9\xA9b"),
    ("é*b", b"\xC3\xA9\xC3\xA9b"),
    ("é*b", b"b"),
    ("(?:é)+$", b"\xC3\xA9\xC3\xA9"),
    ("(?:é)+$", b"\xC3\xA9\xA9"),
    ("(?:é)+$", b""),
    ("[é]b", b"\xC3b"),
    ("[é]b", b"\xA9b"),
    ("[é]b", b"\xE9b"),
    ("[é]b", b"\xC3\xA9b"),
    ("[^é]", b"\xC3"),
    ("[^é]", b"\xA9"),
    ("[^é]", b"\xE9"),
    ("[^é]", b"e"),
    ("[à-é]", b"\xC3"),
    ("[à-é]", b"\xA0"),
    ("[à-é]", b"\xB5"),
    ("[à-é]", b"\xA9"),
    ("[à-é]", b"\xAA"),
    ("[à-é]", b"\x9F"),
    ("日本", b"\xE6\x97\xA5\xE6\x9C\xAC"),
    ("日本", b"\xE6\x97\xA5"),
    ("日本", b"\xE6\x97\xA5\xE6"),
    (r"\x80\xFF", b"\x80\xFF"),
    (r"\x80\xFF", b"\x80"),
    (r"\x80\xFF", b"\xC2\x80\xC3\xBF"),
    (r"[\x80-\xFF]+\x00", b"\x80\x00"),
    (r"[\x80-\xFF]+\x00", b"\xFF\xC0\xAF\x00"),
    (r"[\x80-\xFF]+\x00", b"\x7F\x00"),
    (r"[\x80-\xFF]+\x00", b"\x00"),
    (r"[^\x80-\xFF]", b"a"),
    (r"[^\x80-\xFF]", b"\x80"),
    (r"[^\x80-\xFF]", b"\xFF"),
    (r"[^\x80-\xFF]", b"\n"),
    (r"\d+\.\d*", b"12.5"),
    (r"\d+\.\d*", b"12"),
    (r"\d+\.\d*", b".5"),
    (r"\d+\.\d*", b"\xB2."),
    (r"\d+\.\d*", b"7."),
    (r"\w+ \W", b"a_9 \xE9"),
    (r"\w+ \W", b"\xE9 !"),
    (r"\w+ \W", b"a b"),
    (r"\w+ \W", b"Z  "),
    (r"\s\S", b" a"),
    (r"\s\S", b"\x85a"),
    (r"\s\S", b"\xA0a"),
    (r"\s\S", b"\x0B\xA0"),
    (r"\s\S", b"\x1Ca"),
    (r"\D\D", b"a\xB9"),
    (r"\D\D", b"1a"),
    (r"\D\D", b"\xFF\xFF"),
    (r"[\d\s]+x", b"1 2x"),
    (r"[\d\s]+x", b"x"),
    (r"[\d\s]+x", b"\xA0x"),
    (r"[\W]", b"\xAA"),
    (r"[\W]", b"\xB5"),
    (r"[\W]", b"a"),
    (r"[\W]", b"_"),
    (r"[^\W\d]", b"a"),
    (r"[^\W\d]", b"1"),
    (r"[^\W\d]", b"\xB5"),
    (r"[^\W\d]", b"_"),
    (r"a\b", b"a"),
    (r"a\b", b"ab"),
    (r"a\b", b"a\xE9"),
    (r"a\b", b"a "),
    (r"\xE9\b", b"\xE9"),
    (r"\xE9\b", b"\xE9a"),
    (r"\xE9\b", b"\xE9 "),
    (r"a\B.", b"ab"),
    (r"a\B.", b"a "),
    (r"a\B.", b"a\xB5"),
    (r"\B\xB5", b"\xB5"),
    (r"\B\xB5", b"a"),
    ("^a", b"a"),
    ("^a", b"ba"),
    ("a^b", b"ab"),
    ("a^b", b"a\nb"),
    (r"(?m)a\n^b", b"a\nb"),
    (r"(?m)a\n^b", b"ab"),
    (r"(?m)a$\nb", b"a\nb"),
    (r"(?m)a$\nb", b"a\n"),
    (r"(?m)a$\nb", b"ab"),
    (r"(?m)\xFF$", b"\xFF\n"),
    (r"(?m)\xFF$", b"\xFF"),
    (r"(?m)\xFF$", b"\xFF\r\n"),
    ("a$", b"a"),
    ("a$", b"ab"),
    ("a$", b"a\xFF"),
    ("a$", b"a\nb"),
    (r"\Aa", b"a"),
    (r"\Aa", b"\xFFa"),
    ("(?i)straße", b"stra\xC3\x9Fe"),
    ("(?i)straße", b"STRA\xC3\x9FE"),
    ("(?i)straße", b"STRASSE"),
    ("(?i)É", b"\xC3\x89"),
    ("(?i)É", b"\xC3\xA9"),
    (r"(?i)\xE0", b"\xE0"),
    (r"(?i)\xE0", b"\xC0"),
    (r"(?i)[\xE0-\xFE]", b"\xC0"),
    (r"(?i)[\xE0-\xFE]", b"\xDE"),
    (r"(?i)[\xE0-\xFE]", b"\xE0"),
    (r"(?i)[\xE0-\xFE]", b"\xFE"),
    (r"(?i)\xB5", b"\xB5"),
    (r"(?i)\xB5", b"\xE6"),
    (r"(?i)\xB5", b"\xCE\xBC"),
    ("(?i)k", b"K"),
    ("(?i)k", b"\xE2\x84\xAA"),
    ("(?i)k", b"k"),
    ("(?i)[Q-c]", b"q"),
    ("(?i)[Q-c]", b"C"),
    ("(?i)[Q-c]", b"d"),
    ("(?i)[Q-c]", b"P"),
    ("(?i)[Q-c]", b"_"),
    ("(?i)[Q-c]", b"\x80"),
    ("(?i)[^a-c]", b"B"),
    ("(?i)[^a-c]", b"d"),
    ("(?i)[^a-c]", b"\xC3"),
    ("(?i:a)b", b"Ab"),
    ("(?i:a)b", b"AB"),
    ("(?i:a)b", b"ab"),
    ("(?i)a(?-i:b)", b"Ab"),
    ("(?i)a(?-i:b)", b"AB"),
    ("(?s:.)a", b"\na"),
    ("(?s:.)a", b"\xFFa"),
    ("(?x) a b # c", b"ab"),
    ("(?x) a b # c", b"a b"),
    (r"(?x)a\ b\#", b"a b#"),
    (r"(?x)a\ b\#", b"ab#"),
    ("(?:ab)+c", b"ababc"),
    ("(?:ab)+c", b"abac"),
    ("(?:ab)+c", b"c"),
    ("(ab)?c", b"abc"),
    ("(ab)?c", b"c"),
    ("(ab)?c", b"ac"),
    (r"(?P<kind>NOTIFY|M-SEARCH) \*", b"NOTIFY * H"),
    (r"(?P<kind>NOTIFY|M-SEARCH) \*", b"M-SEARCH *"),
    (r"(?P<kind>NOTIFY|M-SEARCH) \*", b"HTTP/1.1"),
    ("a{2}", b"aa"),
    ("a{2}", b"a"),
    ("a{2,}b", b"aaab"),
    ("a{2,}b", b"ab"),
    ("a{1,2}b", b"aab"),
    ("a{1,2}b", b"aaab"),
    ("a{1,2}b", b"b"),
    (r"\xFF{3}", b"\xFF\xFF\xFF"),
    (r"\xFF{3}", b"\xFF\xFF"),
    (r"(?:\xC0\x80){2,3}z", b"\xC0\x80\xC0\x80z"),
    (r"(?:\xC0\x80){2,3}z", b"\xC0\x80z"),
    (r"(?:\xC0\x80){2,3}z", b"\xC0\xC0\x80z"),
    ("a*?b", b"aab"),
    ("a*?b", b"c"),
    ("a+?b??c", b"aac"),
    ("a+?b??c", b"abc"),
    ("a+?b??c", b"bc"),
    ("a{1,3}?b", b"aaab"),
    ("a{1,3}?b", b"aaaab"),
    ("[]a]", b"]"),
    ("[]a]", b"a"),
    ("[]a]", b"b"),
    ("[^]a]", b"]"),
    ("[^]a]", b"b"),
    ("[^]a]", b"\x93"),
    ("[]-a]", b"^"),
    ("[]-a]", b"-"),
    ("[]-a]", b"a"),
    ("[--/]", b"."),
    ("[--/]", b"-"),
    ("[--/]", b"+"),
    ("[-a]", b"-"),
    ("[-a]", b"a"),
    ("[-a]", b"b"),
    ("[a-]", b"-"),
    ("[a-]", b"b"),
    (r"[a\-c]", b"-"),
    (r"[a\-c]", b"b"),
    (r"[\]\[\\^]", b"["),
    (r"[\]\[\\^]", b"]"),
    (r"[\]\[\\^]", b"\\"),
    (r"[\]\[\\^]", b"^"),
    (r"[\]\[\\^]", b"a"),
    ("[.*+?(){|]", b"*"),
    ("[.*+?(){|]", b"|"),
    ("[.*+?(){|]", b"a"),
    ("[.*+?(){|]", b"\xAE"),
    (r"[\x00-\x1F\x7F]", b"\x00"),
    (r"[\x00-\x1F\x7F]", b"\x1F"),
    (r"[\x00-\x1F\x7F]", b" "),
    (r"[\x00-\x1F\x7F]", b"\x7F"),
    (r"[\x00-\x1F\x7F]", b"\x80"),
    (r"\.\*\[\]\(\)\{\}\|\^\$\\", b".*[](){}|^$\\"),
    (r"\.\*\[\]\(\)\{\}\|\^\$\\", b"a"),
    (r"\a\f\n\r\t\v", b"\x07\x0C\n\r\x09\x0B"),
    (r"\a\f\n\r\t\v", b"\x07"),
    (r#"\-\_\%\"\!\ "#, b"-_%\"! "),
    (r#"\-\_\%\"\!\ "#, b"-"),
    (r"\\x41", b"\\x41"),
    (r"\\x41", b"A"),
    (r"\\x41", b"\\A"),
    (r"\x41\x62", b"Ab"),
    (r"\x41\x62", b"AB"),
    (r"(?:a|\b)*c", b"aac"),
    (r"(?:a|\b)*c", b"c"),
    (r"(?:a|\b)*c", b" c"),
    ("(?:|a)+b", b"aab"),
    ("(?:|a)+b", b"b"),
    ("(?:|a)+b", b"\xAAb"),
    ("((a)|(b))*c", b"abac"),
    ("((a)|(b))*c", b"abd"),
    ("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\xFF"),
];

/// The pair for a seed: always the same one.
pub(crate) fn random_pair(seed: u64) -> (String, Vec<u8>) {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    // The first numbers of neighbouring seeds are similar.
    random.below(2);
    random.below(2);
    let is_ascii = random.below(3) == 0;
    let is_verbose = is_ascii && random.below(2) == 0;
    let mut pattern = String::from(random.choose(&["", "", "(?i)", "(?s)", "(?m)", "(?ms)", "(?is)"]));
    // `$` is used only with `(?m)`: without it, Python's `$` also matches before a final newline.
    let has_end = pattern.contains('m');
    if is_verbose {
        pattern.push_str("(?x)");
    }
    let mut generator = Generator { random, pattern, is_ascii, is_verbose, has_end };
    generator.alternatives(3);
    if is_verbose {
        generator.pattern.push_str(random.choose(&["", " # (the end", "#|\n"]));
    }
    let packet = generator.packet();
    (generator.pattern, packet)
}

/// Knuth's linear congruential generator.
#[derive(Clone, Copy)]
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn choose(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len())]
    }
}

struct Generator {
    random: Random,
    pattern: String,
    is_ascii: bool,
    is_verbose: bool,
    has_end: bool,
}

impl Generator {
    fn alternatives(&mut self, depth: usize) {
        self.sequence(depth);
        for _ in 0..self.random.below(3).saturating_sub(1) {
            self.pattern.push('|');
            self.sequence(depth);
        }
    }

    fn sequence(&mut self, depth: usize) {
        for _ in 0..self.random.below(4) {
            if self.is_verbose {
                self.pattern.push_str(self.random.choose(&["", "", " ", "\n\t", "# a|b(\n"]));
            }
            self.item(depth);
        }
    }

    fn item(&mut self, depth: usize) {
        match self.random.below(if depth == 0 { 9 } else { 12 }) {
            0 | 1 => self.pattern.push_str(self.random.choose(&["a", "b", "A", "_", "0", "Zz"])),
            2 => self.pattern.push_str(self.random.choose(&[".", r"\.", r"\n", r"\ ", r"\x80", r"\xFF", r"\x61", r"\x00"])),
            3 if self.is_ascii => self.pattern.push_str(r"\xC3\xA9"),
            3 => self.pattern.push_str(self.random.choose(&["é", "€", "ÿ"])),
            4 => self.pattern.push_str(self.random.choose(&[r"\d", r"\D", r"\w", r"\W", r"\s", r"\S"])),
            5 | 6 => self.class(),
            7 => {
                // Python does not allow repetition of an assertion.
                let places: &[_] = if self.has_end { &["^", "$", r"\b"] } else { &["^", r"\b", r"\A"] };
                self.pattern.push_str(self.random.choose(places));
                return;
            }
            8 => self.pattern.push_str("a?b"),
            _ => {
                self.pattern.push_str(self.random.choose(&["(", "(?:", "(?:", "(?i:", "(?-i:", "(?s:", "(?s-i:"]));
                self.alternatives(depth - 1);
                self.pattern.push(')');
            }
        }
        self.pattern.push_str(self.random.choose(&["", "", "", "*", "+", "?", "*?", "{2}", "{0,2}", "{1,}?", "{1}"]));
    }

    fn class(&mut self) {
        self.pattern.push_str(self.random.choose(&["[", "[", "[^", "[]", "[^]", "[-"]));
        for _ in 0..=self.random.below(3) {
            let members =
                ["a-c", "Q-c", "!-f", "Z", r"\d", r"\W", r"\S", r"\x80-\xBF", r"\xC3", r"\n", r"\-", r"\]", "%", "é"];
            let members = if self.is_ascii { &members[..13] } else { &members[..] };
            self.pattern.push_str(self.random.choose(members));
        }
        self.pattern.push(']');
    }

    fn packet(&mut self) -> Vec<u8> {
        const PIECES: [&[u8]; 20] = [
            b"a",
            b"a",
            b"b",
            b"B",
            b"A",
            b"ab",
            b"Z",
            b"z",
            b"q",
            b"0",
            b"_",
            b" ",
            b"\n",
            b".",
            b"\xC3\xA9",
            b"\xE2\x82\xAC",
            b"\x80",
            b"\xFF",
            b"\xC3",
            b"\0",
        ];
        (0..self.random.below(7)).flat_map(|_| PIECES[self.random.below(PIECES.len())]).copied().collect()
    }
}
