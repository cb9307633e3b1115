"""What other programs use; re-exported by `engine`, and stable from version 0.3 on.

- `opened`     `open`: a session file as a read-only `Session`, live or finished          (numpy)
- `sites`      one site of it (`SiteView`), and all of them (`SiteViews`)                 (numpy)
- `frames`     its tables for pandas, Arrow and Polars                                    (pandas or pyarrow)
- `measuring`  `measure`: a model over some texts, in this process                        (torch)
- `watching`   `watch`: somebody else's loop, measured while it runs                      (torch)
- `following`  whose rows a forward pass holds, from the arguments of the call            (torch)
- `errors`     what can go wrong: `MaxactError` and its kinds

This file imports nothing, so that `import engine` stays light.
"""
