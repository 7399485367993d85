"""The page: chat with the documents and see the proof on the page. Started by `ragformer ui`.

    app.py        what is served: the script, and a gate before uploads
    script.py     the gate, the password, the pages
    chat.py       questions and answers    past.py       the chats that are kept
    viewer.py     the cited page           documents.py  what is in the collection, and what goes in
    explain.py    how an answer was found    evaluation.py  own questions, asked again and again
    models.py     what writes the answers

Streamlit runs the whole script at every click, so what it shows comes from small functions of
plain values (guard, plain, blocks, export, ledger, uploads); what lasts lives in jobs and state.
"""
