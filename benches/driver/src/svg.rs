//! A drawing as SVG text: a few shapes in the classes of one style sheet, which has a light and a dark half. Pure.

use std::fmt::Write;

use crate::record::Role;

/// Letters are assumed to be this wide, which those of usual fonts are not quite.
pub(crate) const LETTER_WIDTH: f64 = 7.4;

/// The ground is drawn, so that the page's own colour does not matter.
const STYLE: &str = "\
text { font: 12px Verdana, 'DejaVu Sans', sans-serif; fill: #1f2328 }
.title { font-weight: bold; font-size: 14px }
.quiet, .reason { fill: #59636e }
.reason { paint-order: stroke; stroke: #ffffff; stroke-width: 5px }
.ground { fill: #ffffff }
.grid { stroke: #d1d9e0 }
.mark, .whisker { stroke: #1f2328 }
.leader { stroke: #818b98; stroke-width: 0.7 }
.curve { fill: none; stroke-width: 1.5 }
rect.heaptally, circle.heaptally { fill: #0969da }
rect.tracker, circle.tracker { fill: #bc6c25 }
rect.allocator, circle.allocator { fill: #8c959f }
.curve.heaptally { stroke: #0969da }
.curve.tracker { stroke: #bc6c25 }
.curve.allocator { stroke: #8c959f }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.quiet, .reason { fill: #9198a1 }
.reason { stroke: #0d1117 }
.ground { fill: #0d1117 }
.grid { stroke: #3d444d }
.mark, .whisker { stroke: #f0f6fc }
rect.heaptally, circle.heaptally { fill: #388bfd }
.curve.heaptally { stroke: #388bfd }
}
";

#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// The upper left corner is 0, 0.
#[derive(Default)]
pub(crate) struct Drawing {
    body: String,
}

impl Drawing {
    pub(crate) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        self.push(format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{text}</text>"));
    }

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.push(format!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"));
    }

    pub(crate) fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), class: &str) {
        self.push(format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" class=\"{class}\"/>"
        ));
    }

    pub(crate) fn dot(&mut self, (x, y): (f64, f64), class: &str) {
        self.push(format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" class=\"{class}\"/>"));
    }

    pub(crate) fn curve(&mut self, points: &[(f64, f64)], class: &str) {
        let points: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.push(format!("<polyline points=\"{}\" class=\"curve {class}\"/>", points.join(" ")));
    }

    /// What the colours mean.
    pub(crate) fn legend(&mut self, (mut x, y): (f64, f64)) {
        for role in [Role::Heaptally, Role::Tracker, Role::Allocator] {
            let text = match role {
                Role::Heaptally => "heaptally",
                Role::Tracker => "other trackers",
                Role::Allocator => "allocators that keep nothing",
            };
            self.rect((x, y - 9.0), (10.0, 10.0), class(role));
            self.text((x + 15.0, y), Anchor::Start, "quiet", text);
            x += 35.0 + text.len() as f64 * LETTER_WIDTH;
        }
    }

    /// The file's text.
    pub(crate) fn finish(self, (width, height): (f64, f64)) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\">\n<style>\n{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" class=\"ground\"/>\n\
             {}</svg>\n",
            self.body
        )
    }

    fn push(&mut self, element: String) {
        // Writing to a string does not fail.
        let _ = writeln!(self.body, "{element}");
    }
}

/// Of the style sheet.
pub(crate) fn class(role: Role) -> &'static str {
    match role {
        Role::Heaptally => "heaptally",
        Role::Tracker => "tracker",
        Role::Allocator => "allocator",
    }
}

/// Also without control characters, as a compiler's colours: there is no way to write those.
fn escaped(text: &str) -> String {
    let text: String = text.chars().filter(|letter| !letter.is_control()).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_end_its_element() {
        let mut drawing = Drawing::default();
        drawing.text((1.0, 2.0), Anchor::End, "quiet", "expected \u{1b}`Vec<u8>` & more");
        let expected = "<text x=\"1.0\" y=\"2.0\" text-anchor=\"end\" class=\"quiet\">expected `Vec&lt;u8&gt;` &amp; more</text>\n";
        assert_eq!(drawing.body, expected);
        let svg = drawing.finish((300.0, 20.4));
        assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 300 20\""), "{svg}");
        assert!(svg.ends_with(&format!("{expected}</svg>\n")), "{svg}");
    }
}
