package app

import (
	"reflect"
	"time"

	"github.com/spf13/pflag"
)

// Flags returns one flag per config key, with the default and the meaning the
// config file gives it. Only flags that were set override other sources.
func Flags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("config", pflag.ContinueOnError)
	flags.SortFlags = false
	k, err := defaults()
	if err != nil {
		return flags // cannot happen: a struct always decodes
	}
	docs := KeyDocs()
	for _, key := range k.Keys() {
		addFlag(flags, key, k.Get(key), docs[key])
	}
	return flags
}

func addFlag(flags *pflag.FlagSet, key string, value any, doc string) {
	if isSize(key) {
		size := sizeValue(reflect.ValueOf(value).Int())
		flags.Var(&size, key, doc)
		return
	}
	switch v := value.(type) {
	case bool:
		flags.Bool(key, v, doc)
	case time.Duration:
		flags.Duration(key, v, doc)
	case []string:
		flags.StringSlice(key, v, doc)
	case int:
		flags.Int(key, v, doc)
	case int64:
		flags.Int64(key, v, doc)
	case uint64:
		flags.Uint64(key, v, doc)
	case float64:
		flags.Float64(key, v, doc)
	default:
		s, _ := v.(string)
		flags.String(key, s, doc)
	}
}
