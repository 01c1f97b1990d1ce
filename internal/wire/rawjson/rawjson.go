// Package rawjson reads and writes JSON without building trees of it, for the dialects.
//
// It has three ways to read. [Parse] walks what a client sent once and strictly, says exactly where what is wrong, and notes
// where the members lie. A [Cursor] walks text that is known to be JSON, and an [Object] gives up its members one after the
// other, so that those nobody asked for can be carried on as they are. A [Writer] writes.
//
// It knows no dialect: which members there are, and what they mean, is in the packages beside it.
package rawjson
