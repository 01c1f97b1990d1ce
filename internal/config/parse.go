package config

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// What a configuration may be at most. A real one is far below; beyond it the file is something else, or hostile.
const (
	maxFile   = 1 << 20 // bytes
	maxDepth  = 32      // brackets, or entries opened on one line
	maxTokens = 50_000  // keys, values and marks between them; the parser's time grows with their square
)

// parse gives the tree of the one document in src, nil if it is empty. What it cannot read it reports; then there is no
// tree.
func (d *decoder) parse(src []byte) ast.Node {
	text := strings.TrimPrefix(string(src), "\ufeff")
	if !d.checkText(text) {
		return nil
	}
	tokens := lexer.Tokenize(text)
	if !d.checkTokens(tokens) {
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // duplicates are found by decode, all of them
	if err != nil {
		d.syntax(err)
		return nil
	}
	return d.document(file)
}

// checkText refuses what YAML forbids, or what reads differently from how it looks.
func (d *decoder) checkText(text string) bool {
	if len(text) > maxFile {
		d.add(1, 1, "", "the file is larger than "+formatBytes(maxFile), "check the path")
		return false
	}
	before := len(d.list)
	number := 0
	for line := range strings.Lines(text) {
		number++
		d.checkLine(number, strings.TrimRight(line, "\r\n"))
	}
	return len(d.list) == before
}

func (d *decoder) checkLine(number int, line string) {
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	if tab := strings.IndexByte(indent, '\t'); tab >= 0 && indent != line {
		d.add(number, tab+1, "", "a tab in the indentation", "write spaces")
	}
	col := 0
	for i, r := range line {
		col++
		switch {
		case r == utf8.RuneError && strings.HasPrefix(line[i:], "\ufffd"):
			// The character itself may be meant; only bytes that are none are refused.
		case r == utf8.RuneError:
			d.add(number, col, "", "bytes that are not UTF-8", "save the file as UTF-8")
			return
		case r != '\t' && (unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control)):
			d.add(number, col, "", "the invisible character "+strconv.QuoteToASCII(string(r)), "remove it")
			return
		}
	}
}

// checkTokens keeps the parser, which calls itself for each level, from being driven out of its stack, and from running
// for minutes.
func (d *decoder) checkTokens(tokens token.Tokens) bool {
	if len(tokens) > maxTokens {
		p := tokens[maxTokens].Position
		d.add(p.Line, p.Column, "", "the file is too long to be a configuration", "check the path")
		return false
	}
	depth, opened, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, opened = t.Position.Line, 0
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			opened++
		}
		if depth > maxDepth || opened > maxDepth {
			d.add(line, t.Position.Column, "", "more than "+strconv.Itoa(maxDepth)+" levels deep", "no setting lies so deep")
			return false
		}
	}
	return true
}

// syntax reports where the parser gave up. Its messages hold no part of the file, save in double quotes; those parts are
// left out, for they may be a secret.
func (d *decoder) syntax(err error) {
	line, col, text := 1, 1, "the file is not YAML"
	var at yaml.Error
	if errors.As(err, &at) {
		message, _, _ := strings.Cut(at.GetMessage(), `"`)
		text = "not YAML: " + strings.TrimRight(message, " :")
		if t := at.GetToken(); t != nil && t.Position != nil {
			line, col = t.Position.Line, t.Position.Column
		}
	}
	hint := "check the indentation and the quotes"
	if strings.Contains(text, "reserved character") {
		hint = "put the text in quotes"
	}
	d.add(line, col, "", text, hint)
}

// document gives the body of the only document.
func (d *decoder) document(file *ast.File) ast.Node {
	var body ast.Node
	for i, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case doc.Body.Type() == ast.DirectiveType:
			p := doc.Body.GetToken().Position
			d.add(p.Line, p.Column, "", "a YAML directive", "remove the line")
		case i > 0 && body != nil:
			p := start(doc.Body)
			d.add(p.line, p.col, "", "a second document", "one file holds one document; remove the line ---")
			return body
		default:
			body = doc.Body
		}
	}
	return body
}
