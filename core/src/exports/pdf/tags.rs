//! What is what in the file, for programs that read it aloud or take it apart: a title, and one table over all pages.

use krilla::surface::Surface;
use krilla::tagging::{
    Artifact, ArtifactType, ContentTag, Identifier, SpanTag, TableHeaderScope, Tag, TagGroup, TagTree,
};

/// The structure, as it grows with the pages.
pub(super) struct Tags {
    title: TagGroup,
    head: TagGroup,
    body: TagGroup,
    /// The cells of the row that is drawn; it may go on on the next page.
    row: Vec<TagGroup>,
    number: usize,
}

impl Tags {
    pub(super) fn new() -> Self {
        let [title, head, body] = [TagGroup::new(Tag::P), TagGroup::new(Tag::TR), TagGroup::new(Tag::TBody)];
        Self { title, head, body, row: Vec::new(), number: 0 }
    }

    /// What stands above the table.
    pub(super) fn title(&mut self, id: Identifier) {
        self.title.push(id);
    }

    /// The head of the next column.
    pub(super) fn head(&mut self, id: Identifier) {
        let mut cell = TagGroup::new(Tag::TH(TableHeaderScope::Column));
        cell.push(id);
        self.head.push(cell);
    }

    /// A cell, or what of it is on this page. Rows come in their order.
    pub(super) fn cell(&mut self, row: usize, column: usize, id: Identifier) {
        if row != self.number {
            self.end_row();
            self.number = row;
        }
        if column == self.row.len() {
            self.row.push(TagGroup::new(Tag::TD));
        }
        if let Some(cell) = self.row.get_mut(column) {
            cell.push(id);
        }
    }

    fn end_row(&mut self) {
        let mut row = TagGroup::new(Tag::TR);
        for cell in self.row.drain(..) {
            row.push(cell);
        }
        self.body.push(row);
    }

    pub(super) fn finish(mut self) -> TagTree {
        self.end_row();
        let mut head = TagGroup::new(Tag::THead);
        head.push(self.head);
        let mut table = TagGroup::new(Tag::Table);
        table.push(head);
        table.push(self.body);
        let mut tree = TagTree::new();
        tree.push(self.title);
        tree.push(table);
        tree
    }
}

/// Draws a text that belongs to the structure; its place in it is for the caller to give.
pub(super) fn text(surface: &mut Surface<'_>, draw: impl FnOnce(&mut Surface<'_>)) -> Identifier {
    let id = surface.start_tagged(ContentTag::Span(SpanTag::empty()));
    draw(surface);
    surface.end_tagged();
    id
}

/// Draws what is on the page for the eye only.
pub(super) fn ornament(surface: &mut Surface<'_>, kind: ArtifactType, draw: impl FnOnce(&mut Surface<'_>)) {
    let _none = surface.start_tagged(ContentTag::Artifact(Artifact::with_kind(kind)));
    draw(surface);
    surface.end_tagged();
}
